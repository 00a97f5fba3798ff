//! Where changes of manifests are written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::source::{GitWriter, Note, Proposal, check_writable};
use boma_problem::{Class, IntoProblem, Problem};
use tokio::sync::{Mutex, Notify};

use crate::access::Who;

/// Where changes of manifests go.
pub enum Writing {
    /// Nowhere: whoever runs Boma has said that the source is only read.
    Nowhere,
    /// There, if it may be written when there is something to write.
    Into(Writer),
}

/// What changes of manifests are written by.
pub enum Writer {
    /// Into the files of this directory.
    Directory(PathBuf),
    /// Into this repository.
    Repository(Box<Repository>),
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

/// A source that is only read.
#[derive(Debug, thiserror::Error)]
#[error("the source of `{file}` may not be written from here")]
pub(crate) struct ReadOnly {
    file: String,
    #[source]
    pub(crate) why: Why,
}

/// Why a source is only read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Why {
    /// Whoever runs Boma has said so.
    #[error("Boma was started with `--read-only` for it")]
    Told,
    /// The operating system would refuse it.
    #[error("write into its directory: {0}")]
    Refused(io::Error),
}

impl IntoProblem for ReadOnly {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::User, "source-read-only", self).hint(
            "Nothing was written. Make the change where the source is kept: Boma reads it again by itself.",
        )
    }
}

impl Target {
    /// What writes a file of it, by its name among all sources and its own; or why that may not be
    /// written.
    pub(crate) fn writer(&self, file: &str, own_name: &str) -> Result<&Writer, ReadOnly> {
        let read_only = |why| ReadOnly {
            file: file.to_owned(),
            why,
        };
        match &self.writing {
            Writing::Nowhere => Err(read_only(Why::Told)),
            Writing::Into(writer) => {
                // Whether others take a change is known when they are asked to.
                if let Writer::Directory(root) = writer {
                    let writable = check_writable(root, own_name);
                    writable.map_err(|error| read_only(Why::Refused(error)))?;
                }
                Ok(writer)
            }
        }
    }

    /// Why a file of it may not be written, by its name among all sources and its own; none: it may be.
    pub(crate) fn read_only(&self, file: &str, own_name: &str) -> Option<ReadOnly> {
        self.writer(file, own_name).err()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_only_read_says_why_and_what_to_do() {
        let target = Target {
            label: String::new(),
            writing: Writing::Nowhere,
        };
        let problem = target
            .read_only("orders.yaml", "orders.yaml")
            .unwrap()
            .problem();
        let text = format!("{problem} {:?} {:?}", problem.causes, problem.hints);
        for part in [
            "the source of `orders.yaml` may not be written from here",
            "`--read-only`",
            "Make the change where the source is kept",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
