//! Processes that are not children of this one: told apart for good, waited for, signalled.
//!
//! A process id alone names a process only while it lives; the kernel gives it to another one
//! later. Together with the boot and the moment of birth it names one process for ever. A signal
//! goes through a pidfd that was opened first and checked then, so that it cannot hit a stranger.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One process, now and for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Process id.
    pub(crate) pid: u32,
    /// Boot and moment of birth.
    pub(crate) birth: String,
}

/// What `/proc/<pid>/stat` tells.
struct Stat {
    session: u32,
    zombie: bool,
    start_ticks: u64,
}

impl Identity {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            birth: birth(&stat(pid)?)?,
        })
    }

    /// Opens it, if it still lives.
    pub(crate) fn open(&self) -> io::Result<Option<Alive>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after opening: if it is the right one now, the descriptor is the right one.
        match stat(self.pid) {
            Ok(stat) if !stat.zombie && birth(&stat)? == self.birth => Ok(Some(Alive { fd })),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it still lives. What cannot be told counts as living: a second one must not be
    /// started on a doubt.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.open(), Ok(None))
    }
}

/// A living process, held by a descriptor.
#[derive(Debug)]
pub(crate) struct Alive {
    fd: OwnedFd,
}

impl Alive {
    /// Sends a signal; a process that has ended meanwhile is not an error.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end. Needs a tokio runtime with IO.
    pub(crate) async fn ended(self) -> io::Result<()> {
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to wait for a descriptor of one's own"
        )]
        // SAFETY: the descriptor is owned, moved in whole, and never replaced.
        let fd = unsafe { AsyncFd::register_with_interest(self.fd, Interest::READABLE) }?;
        let _ready = fd.readable().await?;
        Ok(())
    }
}

/// Ends a process and everything in its session: asks, waits up to `grace`, then insists. Returns
/// when all of them are gone.
pub(crate) async fn end_session(leader: &Identity, grace: Duration) -> io::Result<()> {
    let members = session_of(leader)?;
    for member in &members {
        member.signal(Signal::TERM)?;
    }
    let all_ended = async {
        for member in members {
            member.ended().await?;
        }
        io::Result::Ok(())
    };
    if let Ok(outcome) = tokio::time::timeout(grace, all_ended).await {
        outcome?;
    }
    // Again until none is left: a process may have made another one meanwhile.
    loop {
        let members = session_of(leader)?;
        if members.is_empty() {
            return Ok(());
        }
        for member in &members {
            member.signal(Signal::KILL)?;
        }
        for member in members {
            member.ended().await?;
        }
    }
}

/// The living members of the session that `leader` leads or led.
///
/// While any member lives, the kernel does not give the session's number to another process; so
/// either the leader has this number, or nobody has.
fn session_of(leader: &Identity) -> io::Result<Vec<Alive>> {
    match stat(leader.pid) {
        Ok(stat) if birth(&stat)? != leader.birth => return Ok(Vec::new()),
        Err(error) if !is_gone(&error) => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let mut members = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let member = match stat(pid) {
            Ok(stat) if stat.session == leader.pid && !stat.zombie => birth(&stat)?,
            Ok(_) => continue,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        members.extend(Identity { pid, birth: member }.open()?);
    }
    Ok(members)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

fn birth(stat: &Stat) -> io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("{}/{}", boot.trim(), stat.start_ticks))
}

fn stat(pid: u32) -> io::Result<Stat> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/<pid>/stat is not as expected",
        )
    })
}

/// Fields after the program's name, which stands in parentheses and may itself hold any of them
/// (proc_pid_stat(5)): state is the 3rd field of the line, session the 6th, starttime the 22nd.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper(script: &str) -> Child {
        // The shell leads its own group here; tests that need a session use `setsid`.
        Command::new("setsid")
            .args(["--wait", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap()
    }

    #[test]
    fn names_with_parentheses_are_parsed() {
        let text = format!("7 (a) b) (c) S 1 7 9 0 {}", "0 ".repeat(13) + "0 4242 0 0");
        let stat = parse_stat(&text).unwrap();
        assert_eq!(
            (stat.session, stat.zombie, stat.start_ticks),
            (9, false, 4242)
        );
        assert!(parse_stat("7 (a").is_none() && parse_stat("").is_none());
    }

    #[test]
    fn another_birth_is_another_process() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let before = Identity {
            birth: "another boot/1".to_owned(),
            ..me
        };
        assert!(!before.is_alive());
        assert!(session_of(&before).unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_end_of_a_process_wakes() {
        let mut child = Command::new("sh")
            .args(["-c", "read line"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let alive = identity.open().unwrap().unwrap();
        drop(child.stdin.take());
        alive.ended().await.unwrap();
        assert!(!identity.is_alive(), "a zombie does not live");
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }

    #[tokio::test]
    async fn a_whole_session_is_ended_even_if_it_does_not_listen() {
        use std::io::{BufRead, BufReader};
        let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do read x < /dev/zero; done' & echo $$; wait";
        let mut child = sleeper(script);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || Identity::of(lines.next().unwrap().unwrap().parse().unwrap()).unwrap();
        let (one, other) = (next(), next());
        let leader = if stat(one.pid).unwrap().session == one.pid {
            one.clone()
        } else {
            other.clone()
        };
        end_session(&leader, Duration::from_millis(50))
            .await
            .unwrap();
        assert!(!one.is_alive() && !other.is_alive());
        child.wait().unwrap();
    }
}
