//! Making a cluster from nothing.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use boma_instance::MajorVersion;

use crate::programs::Installation;

/// Name of the empty database in a cluster that comes from the template: renaming it takes a
/// millisecond, making one takes fifty. Who finds none makes one.
pub const SPARE_DATABASE: &str = "boma_spare";

/// Changes with whatever is done to a template besides `initdb`, so that old ones are thrown away.
const RECIPE: &str = "1";

/// The signal that nobody sends to a program because of what the program did, and what `initdb`
/// says when one of the servers that it runs has got it.
const SIGKILL: i32 = 9;
const CHILD_KILLED: &str = "terminated by signal 9";

/// A program that made no cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It could not be run.
    #[error("run `{}`", program.display())]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was ended from outside, such as by the kernel when memory is short.
    #[error("`{}` was killed: {output}", program.display())]
    Killed {
        /// Which.
        program: PathBuf,
        /// The end of what it said.
        output: String,
    },
    /// It failed.
    #[error("`{}` fails: {output}", program.display())]
    Failed {
        /// Which.
        program: PathBuf,
        /// The end of what it said.
        output: String,
    },
}

/// What `initdb` is told besides the place; see decision 0021 for the locale.
fn options(major: MajorVersion) -> Vec<&'static str> {
    let mut options = vec![
        "--username=postgres",
        "--encoding=UTF8",
        "--data-checksums",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        "--text-search-config=english",
        "--locale=C",
        "--lc-ctype=C.UTF-8",
        "--no-instructions",
        // Everything is synced once when the cluster is whole.
        "--no-sync",
    ];
    match major {
        MajorVersion::V15 | MajorVersion::V16 => options.push("--locale-provider=libc"),
        MajorVersion::V17 | MajorVersion::V18 => {
            options.extend(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        }
    }
    options
}

/// What tells templates apart that were made in different ways: of one version, from different
/// programs, with different options. Eight hexadecimal digits.
pub(super) fn fingerprint(installation: &Installation) -> String {
    let mut text = format!("{RECIPE}\0{}", installation.bin.display());
    for option in options(installation.major()) {
        text.push('\0');
        text.push_str(option);
    }
    format!("{:08x}", hash(text.as_bytes()))
}

/// FNV-1a: it tells a handful of texts apart, nothing more.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Makes a cluster. `data` must not exist; its parent is the working directory, which is how a
/// process that outlives us is recognised.
pub(super) fn initdb(installation: &Installation, data: &Path) -> Result<(), ProgramError> {
    let mut command = quiet(installation.program("initdb"), data.parent());
    command
        .args(options(installation.major()))
        .arg("--pgdata")
        .arg(data);
    run(command, "")
}

/// Adds what a template has besides: the spare database. The server runs in the foreground,
/// without a socket, and ends with a clean shutdown.
pub(super) fn add_spare_database(
    installation: &Installation,
    data: &Path,
) -> Result<(), ProgramError> {
    // STRATEGY: copying files keeps the template's WAL within its first segment.
    let create = format!(
        "CREATE DATABASE {SPARE_DATABASE} TEMPLATE template0 STRATEGY file_copy\n\
         REVOKE ALL ON DATABASE {SPARE_DATABASE} FROM PUBLIC\n"
    );
    single(installation, data, "postgres", &create)?;
    single(
        installation,
        data,
        SPARE_DATABASE,
        "REVOKE ALL ON SCHEMA public FROM PUBLIC\n",
    )
}

/// Runs SQL, a statement a line, in a server of its own.
fn single(
    installation: &Installation,
    data: &Path,
    database: &str,
    sql: &str,
) -> Result<(), ProgramError> {
    let mut command = quiet(installation.program("postgres"), data.parent());
    command.arg("--single").arg("-D").arg(data);
    // Without it an error is only printed, and the program goes on and ends well.
    command.args(["-c", "exit_on_error=on", "-c", "log_checkpoints=off"]);
    command.arg(database);
    run(command, sql)
}

/// A command whose messages are in English and that nothing of our environment changes.
fn quiet(program: PathBuf, directory: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    for keep in ["PATH", "LD_LIBRARY_PATH", "HOME"] {
        if let Some(value) = std::env::var_os(keep) {
            command.env(keep, value);
        }
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command
}

fn run(mut command: Command, input: &str) -> Result<(), ProgramError> {
    let program = PathBuf::from(command.get_program());
    let output = output_of(&mut command, input).map_err(|source| ProgramError::Run {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let last = last_lines(&said);
    let is_killed = output.status.signal() == Some(SIGKILL) || last.contains(CHILD_KILLED);
    let output = format!("{}; {last}", output.status);
    Err(if is_killed {
        ProgramError::Killed { program, output }
    } else {
        ProgramError::Failed { program, output }
    })
}

fn output_of(command: &mut Command, input: &str) -> io::Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A few lines fit into the pipe. A program that is gone before it read them says why
        // itself, better than "broken pipe".
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output()
}

/// The end of what a program said, as one line.
fn last_lines(said: &[u8]) -> String {
    const LINES: usize = 6;
    let text = String::from_utf8_lossy(said);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}
