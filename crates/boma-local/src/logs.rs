//! Ends of logs, as anybody may see them who may see what they are about.

use std::io;
use std::path::PathBuf;

use boma_engine::keys::ApplicationKey;
use boma_engine::platform::PlatformError;
use boma_engine::printed::{ApplicationSecrets, END, shown};
use boma_problem::{Class, IntoProblem, Problem};

use crate::files;
use crate::platform::LocalPlatform;

/// What of an application has printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// Its program.
    Program,
    /// The last run of its `preDeploy`.
    PreDeploy,
}

/// A log that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read log `{}`", path.display())]
struct LogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl IntoProblem for LogError {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::Config, "log-unreadable", self)
            .hint("It must belong to the user that runs `boma serve`.")
    }
}

impl LocalPlatform {
    /// The end of what an application has printed, without the passwords that it was given; none: it
    /// has printed nothing yet.
    ///
    /// # Errors
    /// The log is there and cannot be read.
    pub async fn printed(
        &self,
        key: &ApplicationKey,
        which: Printed,
    ) -> Result<Option<String>, PlatformError> {
        let path = match which {
            Printed::Program => self.layout().application_log(key),
            Printed::PreDeploy => self.layout().pre_deploy_log(key),
        };
        let path = path.map_err(|error| error.problem())?;
        // Without an environment there is no password either.
        let secrets = self.environment(key).await.unwrap_or_default();
        end_of(path, secrets).await
    }
}

/// The end of a log, from a line's beginning, without passwords; none: there is no such log yet.
///
/// # Errors
/// It is there and cannot be read.
pub async fn end_of(
    path: PathBuf,
    secrets: ApplicationSecrets,
) -> Result<Option<String>, PlatformError> {
    let work = move || match files::tail(&path, END) {
        Ok(text) => Ok(Some(shown(&text, &secrets))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError { path, source }.problem().into()),
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Box::new(Problem::from_error(
            Class::Internal,
            "step-panicked",
            &error,
        ))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_is_not_there_is_none_and_one_that_is_no_file_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let none = end_of(dir.path().join("log"), ApplicationSecrets::new()).await;
        assert_eq!(none.unwrap(), None);
        let problem = end_of(dir.path().to_owned(), ApplicationSecrets::new()).await;
        let problem = problem.unwrap_err();
        assert_eq!(problem.code, "log-unreadable");
        assert!(problem.to_string().starts_with("read log `"), "{problem}");
    }
}
