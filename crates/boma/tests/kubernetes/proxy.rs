//! An API server that fails as it is told: what Boma asks goes through here, request by request, and
//! on to `kubectl proxy`, which knows the cluster.
//!
//! Every connection carries one request, so that each can be counted, answered in another way, cut
//! off, or be the last that its asker makes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a request is.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
}

impl Asked {
    /// Whether it changes something. Leases are renewed by the clock and do not count, nor does what
    /// only notes what was done: nothing follows from it, and how often it is written is chance.
    pub(crate) fn is_write(&self) -> bool {
        let is_counted = |part| !self.path.contains(part);
        self.method != "GET" && ["/leases", "/boma-journal."].into_iter().all(is_counted)
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.path.contains("watch=true") || self.path.contains("watch=1")
    }

    /// Whether it lists objects of a kind.
    pub(crate) fn is_list_of(&self, kind: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        self.method == "GET" && !self.is_watch() && path.ends_with(&format!("/{kind}"))
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It is answered.
    Pass,
    /// Its asker is killed, and nobody else hears of it.
    KillBefore,
    /// It is done, and its asker is killed instead of being told.
    KillAfter,
    /// It is done, and half of the answer arrives.
    Cut,
    /// It is not done; this is the answer: a status, more headers, and the reason.
    Refuse(u16, &'static str, &'static str),
    /// What is asked for comes for so long, and then the connection ends.
    EndAfter(Duration),
    /// A watch is told that it is too old.
    Gone,
    /// The answer is what the same path was answered with when this proxy was told to remember.
    Stale,
}

type Decide = Box<dyn FnMut(&Asked) -> Fate + Send>;

struct State {
    decide: Mutex<Decide>,
    /// The process that is killed.
    victim: Mutex<Option<u32>>,
    remembered: Mutex<BTreeMap<String, Vec<u8>>>,
    upstream: SocketAddr,
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
    kubectl: Child,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub(crate) fn start() -> Result<Self> {
        let mut kubectl = Command::new("kubectl")
            .args(["proxy", "--port=0", "--disable-filter=true"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubectl")?;
        let mut said = String::new();
        let output = kubectl.stdout.take().context("it is piped")?;
        BufReader::new(output).read_line(&mut said)?;
        let upstream = said.trim().rsplit(' ').next().unwrap_or_default();
        let upstream = upstream.parse().with_context(|| said.clone())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            decide: Mutex::new(Box::new(|_| Fate::Pass)),
            victim: Mutex::new(None),
            remembered: Mutex::default(),
            upstream,
        });
        let shared = state.clone();
        // It ends with the process of the test: nothing waits for it.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                // An asker that goes away is none of the proxy's business.
                std::thread::spawn(move || drop(state.serve(&client)));
            }
        });
        Ok(Self {
            state,
            address,
            kubectl,
        })
    }

    /// Writes a configuration that leads here.
    pub(crate) fn configure(&self, file: &Path) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \
             'http://{}'}}}}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: \
             {{cluster: c, user: u}}}}]\ncurrent-context: c\n",
            self.address
        );
        std::fs::write(file, text)?;
        Ok(())
    }

    /// Decides about every request from now on.
    pub(crate) fn decide(&self, decide: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *locked(&self.state.decide) = Box::new(decide);
    }

    /// The process that is killed where it is decided so.
    pub(crate) fn aim_at(&self, victim: &Child) {
        *locked(&self.state.victim) = Some(victim.id());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.kubectl.kill());
        drop(self.kubectl.wait());
    }
}

/// A request as it came, but for its connection header.
struct Request {
    asked: Asked,
    bytes: Vec<u8>,
    is_upgrade: bool,
}

fn read_request(client: &TcpStream) -> Result<Request> {
    let mut reader = BufReader::new(client);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
    };
    let (mut bytes, mut length, mut is_upgrade) = (first.into_bytes(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        is_upgrade |= lower.starts_with("upgrade:");
        if line.trim().is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            bytes.extend(line.bytes());
        }
    }
    let connection = if is_upgrade { "Upgrade" } else { "close" };
    bytes.extend(format!("Connection: {connection}\r\n\r\n").bytes());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    bytes.extend(body);
    Ok(Request {
        asked,
        bytes,
        is_upgrade,
    })
}

impl State {
    fn serve(&self, mut client: &TcpStream) -> Result<()> {
        let request = read_request(client)?;
        let fate = (locked(&self.decide))(&request.asked);
        let path = &request.asked.path;
        match fate {
            Fate::Pass if request.is_upgrade => self.join(client, &request),
            Fate::Pass => {
                let mut upstream = self.forward(&request)?;
                if request.asked.is_watch() {
                    std::io::copy(&mut upstream, &mut client)?;
                    return Ok(());
                }
                let mut answer = Vec::new();
                upstream.read_to_end(&mut answer)?;
                client.write_all(&answer)?;
                if request.asked.method == "GET" {
                    let key = key_of(path);
                    locked(&self.remembered).entry(key).or_insert(answer);
                }
                Ok(())
            }
            Fate::KillBefore => self.kill(),
            Fate::KillAfter => {
                self.forward(&request)?.read_to_end(&mut Vec::new())?;
                self.kill()
            }
            Fate::Cut => {
                let mut answer = Vec::new();
                self.forward(&request)?.read_to_end(&mut answer)?;
                client.write_all(answer.get(..answer.len() / 2).unwrap_or_default())?;
                Ok(client.shutdown(Shutdown::Both)?)
            }
            Fate::Refuse(status, headers, reason) => {
                let body = status_object(status, reason);
                Ok(client.write_all(answer(status, headers, &body).as_bytes())?)
            }
            Fate::EndAfter(time) => {
                let mut upstream = self.forward(&request)?;
                let ending = upstream.try_clone()?;
                std::thread::spawn(move || {
                    std::thread::park_timeout(time);
                    drop(ending.shutdown(Shutdown::Both));
                });
                std::io::copy(&mut upstream, &mut client)?;
                Ok(())
            }
            Fate::Gone => {
                let event = format!(
                    "{{\"type\":\"ERROR\",\"object\":{}}}\n",
                    status_object(410, "Expired")
                );
                Ok(client.write_all(answer(200, "", &event).as_bytes())?)
            }
            Fate::Stale => {
                let known = locked(&self.remembered).get(&key_of(path)).cloned();
                let known = known.with_context(|| format!("{path} was never asked for"))?;
                Ok(client.write_all(&known)?)
            }
        }
    }

    fn forward(&self, request: &Request) -> Result<TcpStream> {
        let mut upstream = TcpStream::connect(self.upstream)?;
        upstream.write_all(&request.bytes)?;
        Ok(upstream)
    }

    /// Both ways, until both have ended.
    fn join(&self, mut client: &TcpStream, request: &Request) -> Result<()> {
        let mut upstream = self.forward(request)?;
        let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
        let there = std::thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
        drop(std::io::copy(&mut upstream, &mut client));
        client.shutdown(Shutdown::Both)?;
        drop(there.join());
        Ok(())
    }

    fn kill(&self) -> Result<()> {
        let victim = locked(&self.victim).take();
        let victim = victim.context("nobody is left to kill")?;
        let killed = Command::new("kill")
            .args(["-KILL", &victim.to_string()])
            .status()?;
        anyhow::ensure!(killed.success(), "kill: {killed}");
        Ok(())
    }
}

/// Lists differ by what they begin from.
fn key_of(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

fn status_object(code: u16, reason: &str) -> String {
    format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\
         \"message\":\"the test says so\",\"reason\":\"{reason}\",\"code\":{code}}}"
    )
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: \
         {}\r\n{headers}Connection: close\r\n\r\n{body}",
        body.len()
    )
}
