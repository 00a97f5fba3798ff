//! What a person does without Boma: initdb, pg_ctl, createuser, createdb, and the first query.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// PostgreSQL's programs, and who may run them.
pub(super) struct Programs {
    directory: PathBuf,
    account: Option<Account>,
}

/// Who runs servers when we are root, which PostgreSQL refuses.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// A server made by hand; stopped when dropped.
pub(super) struct Server<'a> {
    programs: &'a Programs,
    directory: PathBuf,
    port: String,
}

impl Programs {
    /// The newest complete installation that the distribution made.
    pub(super) fn find() -> Result<Self> {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .context("list /usr/lib/postgresql: these figures need the distribution's PostgreSQL")?
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|bin| bin.join("initdb").exists() && bin.join("createdb").exists())
            .collect();
        found.sort();
        let directory = found.pop().context("find initdb and createdb")?;
        let account = account()?;
        Ok(Self { directory, account })
    }

    /// The major version, as its directory is called.
    pub(super) fn version(&self) -> String {
        let parent = self.directory.parent().and_then(Path::file_name);
        parent.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// psql itself.
    pub(super) fn psql(&self) -> PathBuf {
        self.directory.join("psql")
    }

    fn command(&self, program: &str) -> Command {
        self.any(&self.directory.join(program))
    }

    /// One of PostgreSQL's programs.
    pub(super) fn program(&self, program: &str) -> Command {
        self.command(program)
    }

    /// Any program, as the user who runs servers.
    pub(super) fn any(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(account) = self.account {
            command.gid(account.gid).uid(account.uid);
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Makes a directory for that user.
    pub(super) fn directory(&self, directory: &Path) -> Result<()> {
        fs::create_dir(directory)?;
        self.own(directory)
    }

    /// Gives a directory to that user.
    pub(super) fn own(&self, directory: &Path) -> Result<()> {
        if let Some(account) = self.account {
            chown(directory, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// Makes a server as the manual says, up to the first answered query of its new user over TCP.
    ///
    /// It has data checksums, as Boma's have, and one loopback address; passwords and TLS are left
    /// out, which is in its favour.
    pub(super) fn create(&self, directory: &Path) -> Result<(Server<'_>, Duration)> {
        self.directory(directory)?;
        let port = TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port()
            .to_string();
        let server = Server {
            programs: self,
            directory: directory.to_owned(),
            port: port.clone(),
        };
        let sockets = path(&server.directory)?.to_owned();
        let data = path(&server.data())?.to_owned();
        let start = Instant::now();
        let initdb = [
            "--auth-local=peer",
            "--auth-host=trust",
            "--data-checksums",
            "-D",
            &data,
        ];
        quiet(self.command("initdb").args(initdb))?;
        let settings = format!("-k {sockets} -p {port} -c listen_addresses=127.0.0.1");
        let log = format!("{sockets}/log");
        quiet(
            self.command("pg_ctl")
                .args(["start", "-w", "-D", &data, "-l", &log, "-o", &settings]),
        )?;
        let as_owner = ["-h", &sockets, "-p", &port];
        quiet(self.command("createuser").args(as_owner).arg("app"))?;
        quiet(
            self.command("createdb")
                .args(as_owner)
                .args(["-O", "app", "accounts"]),
        )?;
        quiet(
            self.command("psql")
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port,
                    "-U",
                    "app",
                    "-d",
                    "accounts",
                ])
                .args(["-X", "-c", "SELECT 1"]),
        )?;
        Ok((server, start.elapsed()))
    }
}

impl Server<'_> {
    /// Its data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its data directory, the directory of its socket, and its port.
    pub(super) fn coordinates(&self) -> Result<(String, String, String)> {
        let data = path(&self.data())?.to_owned();
        Ok((data, path(&self.directory)?.to_owned(), self.port.clone()))
    }

    /// Runs SQL as its superuser.
    pub(super) fn sql(&self, sql: &str) -> Result<()> {
        let (_, sockets, port) = self.coordinates()?;
        quiet(self.programs.command("psql").args([
            "-h", &sockets, "-p", &port, "-d", "postgres", "-X", "-c", sql,
        ]))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let stop = quiet(
            self.programs
                .command("pg_ctl")
                .args(["stop", "-w", "-m", "immediate", "-D"])
                .arg(self.data()),
        );
        if let Err(error) = stop {
            println!("{}: {error:#}", self.directory.display());
        }
    }
}

/// Runs a command whose output matters only when it fails.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {said}",
        output.status
    );
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path should be UTF-8")
}

/// For root: `postgres`, which distributions make, else `nobody`.
fn account() -> Result<Option<Account>> {
    let whoami = Command::new("id").arg("-u").output()?;
    if whoami.stdout != b"0\n" {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == *name).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Account { uid, gid })
        })
    });
    found.map(Some).context("find user postgres or nobody")
}
