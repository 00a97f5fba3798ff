//! Ends of logs, as anybody may see them who may see what they are about.

use std::io;
use std::path::PathBuf;

use boma_engine::keys::ApplicationKey;
use boma_engine::platform::PlatformError;
use boma_problem::{Class, IntoProblem, Problem};

use crate::applications::redacted;
use crate::files;
use crate::platform::LocalPlatform;
use crate::store::ApplicationSecrets;

/// How much of a log is read: thousands of lines, in a few milliseconds.
const END: u64 = 1 << 20;

/// What stands in the place of a password.
const HIDDEN: &str = "[redacted]";

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
        Ok(text) => Ok(Some(without_passwords(&redacted(&text, &secrets)))),
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

/// Hides what looks like a password by where it stands: also one that was exchanged since, or that
/// somebody has typed.
fn without_passwords(text: &str) -> String {
    let lines = text.lines().map(|line| quoted(&in_addresses(line)) + "\n");
    lines.collect()
}

/// `postgresql://user:password@host` without the password, which may have any letter in it that does
/// not end an address.
fn in_addresses(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|one: char| one.is_whitespace() || "\"'`<>".contains(one));
        let (authority, behind) = after.split_at(end.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((login, host)) => match login.split_once(':') {
                Some((user, _)) => shown.extend([user, ":", HIDDEN, "@", host]),
                None => shown.push_str(authority),
            },
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown + rest
}

/// `PASSWORD 'secret'` without the secret, as in statements that failed.
fn quoted(line: &str) -> String {
    const WORD: &str = "password";
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    // ASCII lower case keeps the places of all bytes.
    while let Some(at) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        shown.push_str(before);
        let value = after.trim_start_matches([' ', '=', ':', '\t']);
        let gap = &after[..after.len() - value.len()];
        rest = after;
        if let Some(inner) = value.strip_prefix('\'') {
            shown.extend([gap, "'", HIDDEN, "'"]);
            rest = behind_literal(inner);
        }
    }
    shown + rest
}

/// What follows a literal, from behind its first quote on. One that does not end on its line is hidden
/// as a whole.
fn behind_literal(inner: &str) -> &str {
    let mut rest = inner;
    while let Some((_, after)) = rest.split_once('\'') {
        match after.strip_prefix('\'') {
            Some(doubled) => rest = doubled,
            None => return after,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_by_where_they_stand() {
        for (line, shown) in [
            ("LOG:  ready", "LOG:  ready"),
            (
                "connect postgresql://api_1:s3c/ret@h:5432/db?x=1 now",
                "connect postgresql://api_1:[redacted]@h:5432/db?x=1 now",
            ),
            (
                "to postgresql://api_1:s3cret@h:5432/db and redis://:p@ss@r:1",
                "to postgresql://api_1:[redacted]@h:5432/db and redis://:[redacted]@r:1",
            ),
            // Better too much than too little.
            (
                "see https://example.org:80/a@b",
                "see https://example.org:[redacted]@b",
            ),
            (
                "see https://example.org:80/a b@c",
                "see https://example.org:80/a b@c",
            ),
            (
                "STATEMENT:  ALTER ROLE a PASSWORD 'it''s' VALID UNTIL '2030-01-01'",
                "STATEMENT:  ALTER ROLE a PASSWORD '[redacted]' VALID UNTIL '2030-01-01'",
            ),
            ("password = 'open", "password = '[redacted]'"),
            (
                "FATAL:  password authentication failed for user \"é\"",
                "FATAL:  password authentication failed for user \"é\"",
            ),
        ] {
            assert_eq!(without_passwords(line), format!("{shown}\n"));
        }
    }

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
