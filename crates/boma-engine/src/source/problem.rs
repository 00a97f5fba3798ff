//! What hinders reading a source.

use std::io;

use boma_problem::{Class, IntoProblem, Place, Problem};

/// A part of a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is at the source's path.
    #[error("there is nothing at {path}")]
    NothingThere {
        /// The path.
        path: String,
    },
    /// A file or directory cannot be read.
    #[error("read {path}")]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A pattern of what is to be passed over cannot be read.
    #[error("read the patterns of {path}")]
    Patterns {
        /// The path of the `.gitignore`.
        path: String,
        /// Why.
        #[source]
        cause: ignore::Error,
    },
    /// A symbolic link leads out of the source.
    #[error("{path} is a link that leads out of the source")]
    LinkOutside {
        /// The path of the link.
        path: String,
    },
    /// A file in which a manifest may be is larger than any manifest.
    #[error("{path} has {bytes} bytes, {} are read", boma_manifest::LARGEST_FILE)]
    TooLarge {
        /// The path.
        path: String,
        /// How many bytes it has.
        bytes: u64,
    },
}

impl SourceError {
    /// The name of a file within the source that it is about; none: it is about the whole source.
    pub(super) fn name_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::NothingThere { .. } => None,
            Self::Unreadable { path, .. } => Some(path).filter(|path| !path.starts_with('/')),
            Self::Patterns { path, .. }
            | Self::LinkOutside { path }
            | Self::TooLarge { path, .. } => Some(path),
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::NothingThere { path }
            | Self::Unreadable { path, .. }
            | Self::Patterns { path, .. }
            | Self::LinkOutside { path }
            | Self::TooLarge { path, .. } => path,
        }
    }
}

impl IntoProblem for SourceError {
    fn problem(&self) -> Problem {
        let (class, code, hint) = match self {
            Self::NothingThere { .. } => (
                Class::Config,
                "source-not-found",
                "Name the directory that your manifests are in.",
            ),
            Self::Unreadable { .. } => (
                Class::Config,
                "source-unreadable",
                "Let the user that runs Boma read it, or name it in `.gitignore`.",
            ),
            Self::Patterns { .. } => (
                Class::User,
                "ignore-patterns-unreadable",
                "Mend the pattern; the others of the file hold.",
            ),
            Self::LinkOutside { .. } => (
                Class::User,
                "link-refused",
                "Put the file itself into the source, or name the link in `.gitignore`.",
            ),
            Self::TooLarge { .. } => (
                Class::User,
                "file-too-large",
                "Divide it into several files, or name it in `.gitignore` if it is none of yours.",
            ),
        };
        let file = self.path().to_owned();
        let place = Place {
            file,
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
        };
        let problem = Problem::from_error(class, code, self).hint(hint).at(place);
        match self {
            // The other patterns of the file hold; at worst a file more is read.
            Self::Patterns { .. } => problem.warning(),
            Self::NothingThere { .. }
            | Self::Unreadable { .. }
            | Self::LinkOutside { .. }
            | Self::TooLarge { .. } => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_reading_is_said_with_what_to_do() {
        let path = || "a.yaml".to_owned();
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let pattern = ignore::Error::UnrecognizedFileType("x".to_owned());
        for (error, code, text) in [
            (
                SourceError::NothingThere { path: path() },
                "source-not-found",
                "there is nothing at a.yaml",
            ),
            (
                SourceError::Unreadable {
                    path: path(),
                    cause: denied(),
                },
                "source-unreadable",
                "read a.yaml: permission denied",
            ),
            (
                SourceError::Patterns {
                    path: path(),
                    cause: pattern,
                },
                "ignore-patterns-unreadable",
                "read the patterns of a.yaml: unrecognized file type: x",
            ),
            (
                SourceError::LinkOutside { path: path() },
                "link-refused",
                "a.yaml is a link that leads out of the source",
            ),
            (
                SourceError::TooLarge {
                    path: path(),
                    bytes: 2_000_000,
                },
                "file-too-large",
                "a.yaml has 2000000 bytes, 1048576 are read",
            ),
        ] {
            let problem = error.problem();
            assert_eq!(
                (problem.code.as_str(), problem.to_string().as_str()),
                (code, text)
            );
            assert_eq!(problem.hints.len(), 1);
            assert_eq!(problem.place.unwrap().file, "a.yaml");
        }
    }
}
