//! Who may use the dashboard: one document, whose form is not this crate's business.

use boma_instance::Secret;

use super::{Access, StoreError};

/// The row's name.
const ROW: &str = "people";

impl Access<'_> {
    /// The document; none: there was none yet.
    pub(crate) fn people(&self) -> Result<Option<Secret<String>>, StoreError> {
        self.sealed(ROW, "read who there is")
    }

    /// Stores the document, in the place of what there was.
    pub(crate) fn set_people(&self, document: &Secret<String>) -> Result<(), StoreError> {
        self.set_sealed(ROW, document, "store who there is")
    }
}
