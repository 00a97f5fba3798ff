//! A list of all passwords that a run of the tests makes, for the search that ends the run: none
//! may be found in anything that was written. In builds with debug assertions only; a release has
//! none of this.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_engine::act::{CredentialError, Credentials, Surroundings};
use boma_engine::platform::Credential;

/// Names the directory of the run.
const RECORD: &str = "BOMA_TEST_RECORD";

/// Lets passwords be recorded, where a run of the tests asks for it.
pub(crate) fn record(around: Surroundings) -> Surroundings {
    let Some(directory) = std::env::var_os(RECORD) else {
        return around;
    };
    let recorded = Recorded {
        list: PathBuf::from(directory).join("passwords"),
        inner: around.credentials,
    };
    Surroundings {
        credentials: Arc::new(recorded),
        ..around
    }
}

struct Recorded {
    list: PathBuf,
    inner: Arc<dyn Credentials>,
}

impl Credentials for Recorded {
    fn make(&self, role: &str, serial: u64) -> Result<Credential, CredentialError> {
        let made = self.inner.make(role, serial)?;
        // A password that is not on the list would not be searched for, so none is made then.
        append(&self.list, made.password.expose()).map_err(|error| {
            tracing::error!(%error, "the password is not recorded");
            let role = role.to_owned();
            CredentialError::NoRandomness { role }
        })?;
        Ok(made)
    }
}

/// One write, so that lines of processes side by side do not mix.
fn append(list: &Path, password: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(list)?;
    file.write_all(format!("{password}\n").as_bytes())
}
