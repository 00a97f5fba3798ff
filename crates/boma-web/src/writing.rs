//! Where changes of manifests are written.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::source::{GitWriter, Note, Proposal};
use boma_problem::Problem;
use tokio::sync::{Mutex, Notify};

use crate::access::Who;

/// Where changes of manifests go.
pub enum Writing {
    /// Into the files of this directory.
    Directory(PathBuf),
    /// Into this repository.
    Repository(Repository),
    /// Into the resources of an API server.
    Resources(Arc<dyn ResourceWriter>),
}

/// Writes manifests that an API server holds. It has no files: what a person writes becomes what would
/// be read again, which is shown before.
#[async_trait]
pub trait ResourceWriter: Send + Sync {
    /// A change as it would be read again, under the name that it would have.
    ///
    /// # Errors
    /// It is no change of one resource.
    fn placed(&self, proposal: Proposal) -> Result<Proposal, Box<Problem>>;

    /// Stores a change, whose text and name are as it will be read again, for somebody.
    ///
    /// # Errors
    /// Somebody else was quicker, or the API server does not take it.
    async fn write(&self, proposal: &Proposal, actor: &str) -> Result<(), Box<Problem>>;
}

/// A source, and where changes of its manifests go.
pub struct Target {
    /// What the names of its files begin with; empty: it is the only source.
    pub label: String,
    /// Where they go.
    pub writing: Writing,
}

/// A repository that changes of manifests are committed to.
pub struct Repository {
    /// What commits; one at a time.
    pub writer: Mutex<GitWriter>,
    /// The branch that is applied.
    pub branch: String,
    /// What says that it was pushed to.
    pub told: Arc<Notify>,
    /// The name of the person whose commits they are.
    pub name: String,
    /// That person's address.
    pub email: String,
}

impl Repository {
    /// Whose a commit is: name and address. Of a person without an address, the name says who it was.
    pub(crate) fn author<'w>(&'w self, who: &'w Who) -> (&'w str, &'w str) {
        match &who.person {
            Some(person) if who.email.is_empty() => (person.as_str(), &self.email),
            Some(person) => (person.as_str(), &who.email),
            None => (&self.name, &self.email),
        }
    }

    pub(crate) fn note(&self, who: &Who, message: &str) -> Note {
        let (name, email) = self.author(who);
        Note {
            name: name.to_owned(),
            email: email.to_owned(),
            message: message.to_owned(),
        }
    }
}
