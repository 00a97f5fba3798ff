//! Who there is, kept by the platform of this machine.

use std::sync::Arc;

use async_trait::async_trait;
use boma_instance::Secret;
use boma_local::LocalPlatform;
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{People, PeopleChange, Register, Rights};

/// Keeps people in the store of this machine.
pub(crate) struct LocalRegister(pub(crate) Arc<LocalPlatform>);

/// The document is none that this version reads.
fn unreadable(error: &serde_json::Error) -> Box<Problem> {
    let problem = Problem::from_error(Class::Config, "people-not-read", error);
    Box::new(problem.hint("A newer version of Boma may have written it: use that one."))
}

fn read(document: Option<&Secret<String>>) -> Result<People, Box<Problem>> {
    let read = document.map(|text| serde_json::from_str(text.expose()));
    read.transpose()
        .map(Option::unwrap_or_default)
        .map_err(|error| unreadable(&error))
}

#[async_trait]
impl Register for LocalRegister {
    async fn people(&self) -> Result<People, Box<Problem>> {
        let document = self.0.people().await?;
        read(document.as_ref())
    }

    async fn change_people(
        &self,
        change: PeopleChange,
        rights: &Rights,
        actor: &str,
    ) -> Result<People, Box<Problem>> {
        let (action, rights) = (change.words(), rights.clone());
        let changed = move |document: Option<Secret<String>>| {
            let mut people = read(document.as_ref())?;
            let done = change.apply(&mut people, &rights);
            done.map_err(|error| Box::new(error.problem()))?;
            let text = serde_json::to_string(&people);
            text.map(Secret::new).map_err(|error| unreadable(&error))
        };
        let changed = self.0.change_people(changed, actor, action).await?;
        read(Some(&changed?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_another_form_is_said_to_be_unreadable() {
        assert_eq!(read(None).unwrap(), People::default());
        let problem = read(Some(&Secret::new("{\"people\": 1}".to_owned()))).unwrap_err();
        assert_eq!(problem.code, "people-not-read");
        assert!(problem.to_string().contains("invalid type"), "{problem}");
    }
}
