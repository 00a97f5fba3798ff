//! Who there is, kept by a platform with its secrets.

use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::platform::PlatformError;
use boma_instance::Secret;
use boma_kubernetes::KubernetesPlatform;
use boma_local::LocalPlatform;
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{People, PeopleChange, Register, Rights};

/// Where a platform keeps one document about people.
pub(crate) trait PeopleStore: Send + Sync {
    /// The document; none: there was none yet.
    fn document(
        &self,
    ) -> impl Future<Output = Result<Option<Secret<String>>, PlatformError>> + Send;

    /// Changes the document in one step with reading it, and records who did. Where somebody else was
    /// quicker, it is changed anew.
    fn change(
        &self,
        change: impl Fn(Option<Secret<String>>) -> Result<Secret<String>, Box<Problem>>
        + Send
        + Sync
        + 'static,
        actor: &str,
        action: String,
    ) -> impl Future<Output = Result<Secret<String>, PlatformError>> + Send;
}

impl PeopleStore for LocalPlatform {
    async fn document(&self) -> Result<Option<Secret<String>>, PlatformError> {
        self.people().await
    }

    async fn change(
        &self,
        change: impl Fn(Option<Secret<String>>) -> Result<Secret<String>, Box<Problem>>
        + Send
        + Sync
        + 'static,
        actor: &str,
        action: String,
    ) -> Result<Secret<String>, PlatformError> {
        self.change_people(change, actor, action).await?
    }
}

impl PeopleStore for KubernetesPlatform {
    async fn document(&self) -> Result<Option<Secret<String>>, PlatformError> {
        self.people().await
    }

    async fn change(
        &self,
        change: impl Fn(Option<Secret<String>>) -> Result<Secret<String>, Box<Problem>>
        + Send
        + Sync
        + 'static,
        actor: &str,
        action: String,
    ) -> Result<Secret<String>, PlatformError> {
        self.change_people(change, actor, action).await
    }
}

/// Keeps people with the secrets of a platform.
pub(crate) struct PlatformRegister<P>(pub(crate) Arc<P>);

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
impl<P: PeopleStore> Register for PlatformRegister<P> {
    async fn people(&self) -> Result<People, Box<Problem>> {
        let document = self.0.document().await?;
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
            let done = change.clone().apply(&mut people, &rights);
            done.map_err(|error| Box::new(error.problem()))?;
            let text = serde_json::to_string(&people);
            text.map(Secret::new).map_err(|error| unreadable(&error))
        };
        let changed = self.0.change(changed, actor, action).await?;
        read(Some(&changed))
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
