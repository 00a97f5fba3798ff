//! What a run of the tests writes, kept to be searched for passwords.
//!
//! ```text
//!   <record>/passwords    one a line, appended by every `boma` of the run when it makes one
//!   <record>/said/        what commands printed
//!   <record>/processes/   command lines of all processes, looked at again and again
//!   <record>/files/       small files of installations that are gone
//! ```
//!
//! The directory is that of the whole run where `BOMA_TEST_RECORD` names one (`scripts/test.sh`
//! searches it at the end), else one of this test alone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_testkit::ScratchDir;

/// How often all processes are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Files larger than this are searched where they are, and not kept.
const SMALL: u64 = 4 << 20;

/// Where things are recorded.
pub(crate) struct Record {
    dir: PathBuf,
    /// Unique among the tests of the run.
    name: String,
    own: Option<ScratchDir>,
    /// Dropped to end the watch.
    going_on: Option<Sender<()>>,
    watch: Option<JoinHandle<io::Result<()>>>,
}

impl Record {
    /// Begins to record; `name` is unique among the tests that run.
    pub(crate) fn begin(name: String) -> Result<Self> {
        let of_run = std::env::var_os("BOMA_TEST_RECORD").map(PathBuf::from);
        let own = of_run.is_none().then(ScratchDir::new).transpose()?;
        let of_test = || own.as_ref().map(|own| own.path().to_owned());
        let dir = of_run.or_else(of_test).context("there is one of the two")?;
        for part in ["said", "processes", "files"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let list = OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join("passwords"))?;
        if own.is_some() {
            // Boma may run as another user, who has to get there, and to add to it.
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
            list.set_permissions(fs::Permissions::from_mode(0o622))?;
        }
        let (going_on, ended) = channel();
        let processes = File::create(dir.join("processes").join(&name))?;
        let watch = thread::spawn(move || watch(processes, &ended));
        Ok(Self {
            dir,
            name,
            own,
            going_on: Some(going_on),
            watch: Some(watch),
        })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps what a command printed.
    pub(crate) fn said(&self, said: &[u8]) -> Result<()> {
        let path = self.dir.join("said").join(&self.name);
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(file.write_all(said)?)
    }

    /// Searches everything below a directory, and all that was recorded of this test, for every
    /// password of the run so far; then keeps the small files for the search at the run's end.
    pub(crate) fn end(&mut self, files: &Path) -> Result<()> {
        drop(self.going_on.take());
        if let Some(watch) = self.watch.take() {
            let watched = watch.join();
            watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        let own = |part: &str| self.dir.join(part).join(&self.name);
        let mut places = vec![files.to_owned(), own("processes")];
        places.extend(Some(own("said")).filter(|said| said.exists()));
        search(&self.dir.join("passwords"), &places)?;
        if self.own.is_none() {
            keep(files, &own("files"))?;
        }
        Ok(())
    }
}

/// Fails if one of the passwords of a list is in a file below one of the places.
fn search(list: &Path, places: &[PathBuf]) -> Result<()> {
    if fs::metadata(list)?.len() == 0 {
        return Ok(());
    }
    // Only names of files are printed, never what was found.
    let found = Command::new("grep")
        .args(["-rlaF", "--devices=skip", "-f"])
        .arg(list)
        .arg("--")
        .args(places)
        .output()
        .context("run grep")?;
    let names = String::from_utf8_lossy(&found.stdout);
    ensure!(names.is_empty(), "a password is in {names}");
    // Files may go away while they are searched; 2 says so.
    ensure!(found.status.code() != Some(0), "a password was found");
    Ok(())
}

/// Copies what is small, flat: the path is in the name.
fn keep(files: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut left = vec![files.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)?.flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            // A cluster is 46 MB, and was searched where it is.
            if metadata.is_dir() && entry.file_name() != "base" {
                left.push(entry.path());
            } else if metadata.is_file() && metadata.len() <= SMALL {
                let path = entry.path();
                let name = path.strip_prefix(files).unwrap_or(&path);
                let name = name.to_string_lossy().replace('/', "%");
                let _gone = fs::copy(&path, into.join(name));
            }
        }
    }
    Ok(())
}

/// Writes down every command line that it sees, once.
fn watch(mut into: File, ended: &Receiver<()>) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for entry in fs::read_dir("/proc")?.flatten() {
            if !entry
                .file_name()
                .to_string_lossy()
                .starts_with(|first: char| first.is_ascii_digit())
            {
                continue;
            }
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if seen.insert(line.clone()) {
                into.write_all(&line)?;
                into.write_all(b"\n")?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_password_that_was_written_is_found() -> Result<()> {
    let scratch = ScratchDir::new()?;
    let list = scratch.path().join("passwords");
    fs::write(&list, "planted-password\nanother-password\n")?;
    let files = scratch.path().join("files");
    fs::create_dir_all(files.join("deep"))?;
    fs::write(files.join("deep/log"), "nothing here: planted, password\n")?;
    search(&list, std::slice::from_ref(&files))?;
    fs::write(files.join("deep/state"), b"\0\xff\0planted-password\0")?;
    let error = search(&list, &[files]).unwrap_err().to_string();
    ensure!(
        error.contains("deep/state") && !error.contains("planted"),
        "{error}"
    );
    Ok(())
}
