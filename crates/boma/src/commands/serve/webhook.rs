//! `POST /hooks/git`: the host of a repository says that somebody has pushed.
//!
//! ```text
//!   connection ─► its request, within limits ─► Deliveries::judge ─► fetch now
//! ```
//!
//! A delivery brings nothing but a moment: what is applied is what the branch holds, fetched from where
//! it always is. So the worst that a forged one could do is to have it fetched.

mod delivery;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use boma_problem::{Class, Problem};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use crate::cli::ServeArgs;
use crate::terminal::{Result, Terminal};
use delivery::{Answer, Deliveries};

/// Where deliveries are taken.
const PATH: &str = "/hooks/git";

/// Largest delivery, in bytes. One of a push with 2,000 commits, the most that GitHub tells of, fits.
const LARGEST: usize = 4 << 20;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 16;

/// How long a connection may take, for all of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long until its first request has come whole, but for the body.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// A pause after the system refused a connection: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Shortest secret, in bytes.
const SHORTEST: usize = 16;

/// An open port.
pub(super) struct Webhook {
    listener: TcpListener,
    at: SocketAddr,
    hook: Arc<Hook>,
}

/// What all requests share.
struct Hook {
    deliveries: Mutex<Deliveries>,
    told: Vec<Arc<Notify>>,
}

impl Webhook {
    /// Opens the port that was asked for; none: nobody asked. `told` is notified of each good delivery.
    pub(super) async fn open(
        args: &ServeArgs,
        told: Vec<Arc<Notify>>,
        terminal: Terminal,
    ) -> Result<Option<Self>> {
        let (Some(address), Some(file)) = (args.webhook, &args.webhook_secret) else {
            return Ok(None);
        };
        if told.is_empty() {
            let message = "a directory is served, which nobody pushes to";
            return Err(
                Problem::new(Class::User, "webhook-without-repository", message)
                    .hint("Serve a repository, by its address, or leave `--webhook` out.")
                    .into(),
            );
        }
        let secret = secret(file, terminal)?;
        let refused = |error: std::io::Error| Problem {
            causes: vec![error.to_string()],
            ..Problem::new(
                Class::Config,
                "webhook-not-open",
                format!("listen for pushes on {address}"),
            )
            .hint("Name another address: `--webhook=127.0.0.1:9471`.")
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let at = listener.local_addr().map_err(refused)?;
        let deliveries = Mutex::new(Deliveries::new(&secret, Instant::now()));
        Ok(Some(Self {
            listener,
            at,
            hook: Arc::new(Hook { deliveries, told }),
        }))
    }

    /// Where it listens, for people.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}", self.at)
    }

    /// Takes deliveries until it is dropped.
    pub(super) async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let hook = self.hook.clone();
                    tokio::spawn(async move {
                        // Whoever is slow is cut off, so that others have a place.
                        drop(tokio::time::timeout(PATIENCE, converse(hook, stream, peer)).await);
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Reads the secret. Others on this machine should not be able to, and are not kept from it here: in a
/// pod, what Kubernetes mounts may be read by everybody in it.
fn secret(file: &Path, terminal: Terminal) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| Problem {
        causes: vec![error.to_string()],
        ..Problem::new(
            Class::Config,
            "webhook-secret-unreadable",
            format!("read the secret of the webhook in `{}`", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let mode = std::fs::metadata(file)
        .map_err(unreadable)?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        let message = format!("everybody may read the secret in `{}`", file.display());
        let warning = Problem::new(Class::Config, "webhook-secret-open", message).warning();
        let hint = format!("`chmod 600 {}`", file.display());
        terminal.problems(&[warning.hint(hint)]);
    }
    let secret = text.trim();
    if secret.len() < SHORTEST {
        let message = format!(
            "the secret in `{}` is shorter than {SHORTEST} bytes",
            file.display()
        );
        return Err(Problem::new(Class::User, "webhook-secret-short", message)
            .hint("Make one: `head -c 32 /dev/urandom | base64`.")
            .into());
    }
    Ok(secret.as_bytes().to_owned())
}

/// One connection, with one request.
async fn converse(hook: Arc<Hook>, stream: TcpStream, peer: SocketAddr) {
    let service = service_fn(move |request| {
        let hook = hook.clone();
        async move { Ok::<_, Infallible>(hook.answer(request, peer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the webhook ended early");
    }
}

impl Hook {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let answer = self.judge(request).await;
        if answer == Answer::Fetch {
            // One permit at most is kept: many deliveries while a fetch goes on are one more fetch.
            for one in &self.told {
                one.notify_one();
            }
        }
        let complaint = answer.complaint();
        let unsaid = complaint.and_then(|_| self.lock().complain(Instant::now()));
        if let (Some(what), Some(unsaid)) = (complaint, unsaid) {
            // Nothing of the request itself: it is a stranger's.
            tracing::warn!(%peer, unsaid, "a delivery to the webhook was refused: {what}");
        }
        response(answer)
    }

    async fn judge(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        if head.uri.path() != PATH {
            return Answer::NoSuchPath;
        }
        if head.method != hyper::Method::POST {
            return Answer::WrongMethod;
        }
        if !self.lock().admit(Instant::now()) {
            return Answer::TooMany;
        }
        match Limited::new(body, LARGEST).collect().await {
            Ok(body) => self.lock().judge(&head.headers, &body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Answer::TooLarge,
            Err(_) => Answer::Broken,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Deliveries> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (status, text) = answer.said();
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if answer == Answer::WrongMethod {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if answer == Answer::TooMany {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
