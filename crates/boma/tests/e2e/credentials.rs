//! A repository that lets nobody in without a password, and passwords out of the secret store.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};

use crate::git::{Repository, log_has};
use crate::installation::{Installation, wait};
use crate::manifests::{application, database};
use crate::trouble::serve_with;

/// Git's own server program behind a few lines of HTTP that ask for a password.
struct Host {
    address: String,
    /// `user:password` that is let in, as it is sent.
    lets_in: Arc<Mutex<String>>,
}

impl Host {
    fn serve(root: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let lets_in = Arc::new(Mutex::new(String::new()));
        let expected = lets_in.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let expected = expected.lock().map(|one| one.clone()).unwrap_or_default();
                let root = root.clone();
                std::thread::spawn(move || answer(stream, &expected, &root));
            }
        });
        Ok(Self { address, lets_in })
    }

    fn let_in(&self, user_and_password: &str) -> Result<()> {
        let mut lets_in = self.lets_in.lock().ok().context("the host has panicked")?;
        *lets_in = base64(user_and_password)?;
        Ok(())
    }
}

fn base64(text: &str) -> Result<String> {
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(text.as_bytes())?;
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

/// Answers one request, and ends the connection.
fn answer(mut stream: TcpStream, expected: &str, root: &Path) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = words.next().zip(words.next()).context("no request")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut length, mut kind, mut encoding, mut is_let_in) =
        (0, String::new(), String::new(), false);
    let mut waits = false;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "content-type" => value.clone_into(&mut kind),
            "content-encoding" => value.clone_into(&mut encoding),
            "expect" => waits = true,
            "authorization" => is_let_in = value.strip_prefix("Basic ") == Some(expected),
            _ => {}
        }
    }
    if waits {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if !is_let_in {
        let refused = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\n\
                       content-length: 0\r\nconnection: close\r\n\r\n";
        return Ok(stream.write_all(refused.as_bytes())?);
    }
    let mut program = Command::new("git");
    program
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "bea")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", kind)
        .env("HTTP_CONTENT_ENCODING", encoding)
        .env("CONTENT_LENGTH", length.to_string());
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(&body)?;
    let said = child.wait_with_output()?.stdout;
    let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, rest) = said.split_at(end.context("no head")?);
    let head = String::from_utf8_lossy(head);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    let headers = head.lines().filter(|line| !line.starts_with("Status: "));
    write!(stream, "HTTP/1.1 {}\r\n", status.unwrap_or("200 OK"))?;
    for header in headers {
        write!(stream, "{header}\r\n")?;
    }
    stream.write_all(b"connection: close\r\n")?;
    Ok(stream.write_all(&rest[2..])?)
}

fn store(boma: &Installation, name: &str, value: &str) -> Result<()> {
    let mut command = boma.command();
    command.args(["secret", "set", name]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(format!("{value}\n").as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "it was not stored");
    Ok(())
}

fn made_up() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes).to_string())
}

#[test]
fn a_repository_is_read_and_written_with_a_secret_that_may_be_exchanged() -> Result<()> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    let remote = boma.path("hosted/db.git");
    fs::create_dir(boma.path("hosted"))?;
    let bare = ["init", "--quiet", "--bare", "--initial-branch=main"];
    let place = remote.display().to_string();
    repository.git(&[&bare[..], &[&place]].concat())?;
    repository.git(&["remote", "add", "origin", &place])?;
    repository.commit(
        "orders.yaml",
        &database("orders", "suspended: true"),
        "add orders",
    )?;
    repository.git(&["push", "--quiet", "origin", "main"])?;
    let host = Host::serve(boma.path("hosted"))?;
    let (first, second) = (made_up()?, made_up()?);
    host.let_in(&format!("bea:{first}"))?;

    let url = format!("http://{}/db.git", host.address);
    let arguments = [url.as_str(), "--credential", "git-host", "--poll", "1"];
    let _serving = serve_with(&boma, &arguments)?;
    log_has(&boma, "there is no secret `git-host`")?;
    store(&boma, "git-host", &format!("bea:{first}"))?;
    log_has(&boma, "Everything is as the manifests say")?;

    let set = ["set", "orders", "memory=1Gi", "--source", &url];
    let refused = boma.boma(set)?.code(4)?;
    ensure!(refused.contains("fetch http://"), "{refused}");
    let set = [&set[..], &["--credential", "git-host"]].concat();
    boma.boma(&set)?.ok()?;
    let log = ["--git-dir", &place, "log", "--format=%s", "main"];
    let pushed = repository.git(&log)?;
    ensure!(pushed.contains("orders: memory"), "{pushed}");

    // Another password: what has the old one is told, and goes on once the secret is exchanged.
    host.let_in(&format!("bea:{second}"))?;
    log_has(&boma, "fetch http://")?;
    store(&boma, "git-host", &format!("bea:{second}"))?;
    repository.commit("web.yaml", &application("web", &[], ""), "add web")?;
    repository.git(&["pull", "--quiet", "--rebase", "origin", "main"])?;
    repository.git(&["push", "--quiet", "origin", "main"])?;
    wait(|| {
        let listed = boma.boma(["get", "applications"])?.ok()?;
        ensure!(listed.contains("web"), "{listed}");
        Ok(())
    })?;

    let names = boma.boma(["secret", "list"])?.ok()?;
    assert_eq!(names, "git-host\n");
    let mut said = fs::read_to_string(boma.path("serve.log"))?;
    said += &boma.boma(["audit"])?.ok()?;
    ensure!(said.contains("secret git-host is stored"), "{said}");
    said += &String::from_utf8_lossy(&fs::read(boma.state().join("boma.sqlite"))?);
    ensure!(
        !said.contains(&first) && !said.contains(&second),
        "a secret was shown"
    );
    boma.boma(["secret", "remove", "git-host"])?.ok()?;
    let gone = boma.boma(["secret", "remove", "git-host"])?.code(1)?;
    ensure!(gone.contains("there is no secret `git-host`"), "{gone}");
    Ok(())
}

/// OpenSSH's server on an address of its own, which lets one key in.
struct Ssh {
    server: Child,
    port: u16,
}

impl Drop for Ssh {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Ssh {
    /// With `host` for its own key, and the public half of `key` let in.
    fn serve(host: &Path, key: &Path) -> Result<Self> {
        // It insists on this directory where it is root.
        if nix::unistd::geteuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = [
            format!("ListenAddress=127.0.0.1:{port}"),
            format!("HostKey={}", host.display()),
            format!("AuthorizedKeysFile={}.pub", key.display()),
            "StrictModes=no".into(),
            "UsePAM=no".into(),
            "PidFile=none".into(),
            "PasswordAuthentication=no".into(),
        ];
        let options = options.iter().flat_map(|option| ["-o", option]);
        let server = Command::new(ssh_server()?)
            .args(["-D", "-e", "-f", "/dev/null"])
            .args(options)
            .stderr(Stdio::null())
            .spawn()?;
        let ssh = Self { server, port };
        wait(|| Ok(TcpStream::connect(("127.0.0.1", port)).map(drop)?))?;
        Ok(ssh)
    }
}

/// Where `scripts/install-test-sshd.sh` puts it, or the system's.
fn ssh_server() -> Result<PathBuf> {
    let directory = std::env::var_os("BOMA_TEST_SSHD_DIR");
    let directory = directory.map_or_else(|| "/var/cache/boma/sshd".into(), PathBuf::from);
    let mut places = ["/usr/sbin/sshd".into(), directory.join("sshd")].into_iter();
    let found = places.find(|place| place.exists());
    found.context("no sshd; run scripts/setup.sh test")
}

/// Makes a key; answers with its public half.
fn key_at(place: &Path) -> Result<String> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(place)
        .status()?;
    ensure!(made.success(), "no key was made");
    Ok(fs::read_to_string(place.with_extension("pub"))?)
}

#[test]
fn a_private_key_lets_boma_in_to_a_host_that_is_known() -> Result<()> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    repository.takes_pushes()?;
    let suspended = database("orders", "suspended: true");
    repository.commit("orders.yaml", &suspended, "add orders")?;
    let (host, key) = (boma.path("host_key"), boma.path("user_key"));
    let host_key = key_at(&host)?;
    key_at(&key)?;
    let ssh = Ssh::serve(&host, &key)?;
    let key = fs::read_to_string(&key)?;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("no user")?;
    let (user, port) = (user.name, ssh.port);
    let url = format!(
        "ssh://{user}@127.0.0.1:{port}{}",
        repository.place.display()
    );

    // A host that nobody knows is not talked to, whoever may be behind it.
    store(&boma, "deploy-key", &key)?;
    let arguments = [url.as_str(), "--credential", "deploy-key", "--poll", "1"];
    let _serving = serve_with(&boma, &arguments)?;
    log_has(&boma, "Host key verification failed")?;
    let known = format!("{key}[127.0.0.1]:{port} {host_key}");
    store(&boma, "deploy-key", &known)?;
    log_has(&boma, "Everything is as the manifests say")?;
    let set = ["set", "orders", "memory=1Gi", "--source", &url];
    boma.boma([&set[..], &["--credential", "deploy-key"]].concat())?
        .ok()?;
    let pushed = repository.git(&["log", "--format=%s", "main"])?;
    ensure!(pushed.contains("orders: memory"), "{pushed}");
    Ok(())
}

#[test]
fn a_secret_is_text_that_is_handed_over() -> Result<()> {
    let boma = Installation::new()?;
    for (bytes, message) in [
        (&b"\n"[..], "an empty secret is none"),
        (&b"\xff"[..], "a secret is text of at most 64 KiB"),
    ] {
        let mut command = boma.command();
        command.args(["secret", "set", "x"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("no input")?.write_all(bytes)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains(message), "{said}");
        ensure!(said.contains("`boma secret set NAME < FILE`"), "{said}");
    }
    let path = boma.boma(["secret", "remove", "../x"])?.code(2)?;
    ensure!(path.contains("1 to 64 letters"), "{path}");
    Ok(())
}
