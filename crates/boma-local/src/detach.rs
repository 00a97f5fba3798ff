//! Starting a process that outlives this one, and is on record before it runs.
//!
//! ```text
//!   parent: fork ───────────► read pid ─► record(pid) durable ─► write "go" ─► exec seen
//!   child:    setsid, tell pid ─────────────────────── read "go" ─► exec
//! ```
//!
//! Whatever kills the parent before "go", the child sees the end of the pipe and ends without
//! having run anything. So no application ever runs that is not on record.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::unistd::{close, getpid, pipe2, read, setsid, write};

/// One start at a time: a second child forked meanwhile would hold the pipe of the first one open,
/// and with it the "end of the pipe" that tells of the parent's death.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Why a process was not started.
#[derive(Debug)]
pub(crate) enum StartError<E> {
    /// The system refused: program not found, no right to run it, no memory.
    System(io::Error),
    /// It could not be put on record.
    Record(E),
}

/// Starts `command` in a session of its own; `record` is called with its process id before the
/// program runs. Blocks until the program has been found and runs.
pub(crate) fn start<E: Send>(
    mut command: Command,
    record: impl FnOnce(u32) -> Result<(), E> + Send,
) -> Result<Child, StartError<E>> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (pid_reader, pid_writer) = new_pipe().map_err(StartError::System)?;
    let (go_reader, go_writer) = new_pipe().map_err(StartError::System)?;
    let ends = ChildEnds {
        tell: pid_writer.as_raw_fd(),
        go: go_reader.as_raw_fd(),
        parents: go_writer.as_raw_fd(),
    };
    #[expect(
        unsafe_code,
        reason = "the one place that needs code between fork and exec"
    )]
    // SAFETY: between fork and exec, `wait_for_go` makes system calls only that are safe there
    // (signal-safety(7): setsid, getpid, write, close, read), and allocates nothing.
    unsafe {
        command.pre_exec(move || wait_for_go(ends));
    }
    std::thread::scope(|scope| {
        // spawn() returns only after exec, which waits for "go": so it waits in a thread.
        let spawning = scope.spawn(move || {
            let spawned = command.spawn();
            drop((pid_writer, go_reader));
            spawned
        });
        let recorded = read_pid(&pid_reader).map(|pid| {
            let recorded = record(pid);
            if recorded.is_ok() {
                // A child that is gone already has its reason told by spawn().
                let _gone = write(&go_writer, b"g");
            }
            recorded
        });
        drop(go_writer);
        let spawned = spawning
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the starting thread ended")));
        match (recorded, spawned) {
            (Some(Err(error)), _) => Err(StartError::Record(error)),
            (_, Err(error)) => Err(StartError::System(error)),
            (_, Ok(child)) => Ok(child),
        }
    })
}

/// The child's view of the two pipes.
#[derive(Clone, Copy)]
struct ChildEnds {
    tell: RawFd,
    go: RawFd,
    parents: RawFd,
}

fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

/// Runs in the child, between fork and exec.
fn wait_for_go(ends: ChildEnds) -> io::Result<()> {
    // The child's own copy of the parent's end would keep the pipe open after the parent's death.
    close(ends.parents)?;
    setsid()?;
    #[expect(
        unsafe_code,
        reason = "owned descriptors cannot be moved across a fork"
    )]
    // SAFETY: both descriptors were opened before the fork and stay open until exec closes them.
    let (tell, go) = unsafe {
        use std::os::fd::BorrowedFd;
        (
            BorrowedFd::borrow_raw(ends.tell),
            BorrowedFd::borrow_raw(ends.go),
        )
    };
    write(tell, &getpid().as_raw().to_ne_bytes())?;
    let mut answer = [0];
    match read(go, &mut answer)? {
        1 => Ok(()),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The child's process id; none: there is no child, and spawn() says why.
fn read_pid(reader: &OwnedFd) -> Option<u32> {
    let mut bytes = [0; size_of::<i32>()];
    match read(reader, &mut bytes) {
        Ok(length) if length == bytes.len() => u32::try_from(i32::from_ne_bytes(bytes)).ok(),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn it_is_on_record_before_it_runs_and_leads_a_session() {
        let dir = tempfile::tempdir().unwrap();
        let ran = dir.path().join("ran");
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > ran"])
            .current_dir(dir.path());
        let mut recorded = 0;
        let mut child = start(command, |pid| {
            assert!(!ran.exists(), "it waits for the record");
            recorded = pid;
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(recorded, child.id());
        assert_eq!(
            std::fs::read_to_string(&ran).unwrap().trim(),
            recorded.to_string()
        );
    }

    #[test]
    fn what_cannot_be_recorded_does_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("touch");
        command
            .arg("ran")
            .current_dir(dir.path())
            .stderr(Stdio::null());
        let outcome = start(command, |_| Err("no"));
        assert!(matches!(outcome, Err(StartError::Record("no"))));
        assert!(!dir.path().join("ran").exists());
    }

    #[test]
    fn a_missing_program_is_told() {
        let outcome = start(Command::new("/nowhere/program"), |_| Ok::<_, ()>(()));
        let Err(StartError::System(error)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// Run as a process of its own by the test below.
    #[test]
    #[ignore = "it is the victim of the test below"]
    fn victim_before_the_record() {
        let Some(dir) = std::env::var_os("BOMA_TEST_DIR") else {
            return;
        };
        let mut command = Command::new("touch");
        command.arg("ran").current_dir(&dir);
        drop(start(command, |pid| {
            std::fs::write(std::path::Path::new(&dir).join("pid"), pid.to_string()).unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).map_err(drop)
        }));
    }

    #[tokio::test]
    async fn what_was_not_recorded_when_its_parent_died_never_runs() {
        use std::os::unix::process::ExitStatusExt;
        let dir = tempfile::tempdir().unwrap();
        let victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "detach::tests::victim_before_the_record",
                "--include-ignored",
            ])
            .env("BOMA_TEST_DIR", dir.path())
            .output()
            .unwrap();
        assert_eq!(victim.status.signal(), Some(9));
        let pid = std::fs::read_to_string(dir.path().join("pid"))
            .unwrap()
            .parse()
            .unwrap();
        boma_testkit::eventually(std::time::Duration::from_secs(20), async || {
            match crate::process::Identity::of(pid) {
                Ok(child) if child.is_alive() => Err("the child still waits".to_owned()),
                Ok(_) | Err(_) => Ok(()),
            }
        })
        .await
        .unwrap();
        assert!(!dir.path().join("ran").exists());
    }

    #[test]
    fn many_at_once_are_started_in_turn() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start(Command::new("true"), |_| Ok::<_, ()>(()))
                        .unwrap()
                        .wait()
                        .unwrap()
                });
            }
        });
    }
}
