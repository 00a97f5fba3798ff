//! Requests to the agent in an instance's pod, over TLS and with its token.

use std::sync::Arc;
use std::time::Duration;

use boma_engine::spans;
use boma_instance::api::{self, Accepted, Reported};
use boma_instance::statements::Statements;
use boma_instance::{Assignment, History};
use boma_problem::{Class, IntoProblem, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::Instrument as _;

use crate::config::Road;

/// How long a connection may take: the pod is there, or it is not.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an agent may take to tell what it knows already.
const STATUS: Duration = Duration::from_secs(5);

/// How long it may take to accept something: it finishes the step that it is at first.
const ACCEPT: Duration = Duration::from_secs(90);

/// How long a page waits for an agent: it is shown without what that agent would say. Outside of the
/// cluster, a connection through the API server takes some of it.
const PAGE: Duration = Duration::from_millis(1500);

/// How long statements may take to be read: a little longer than the agent waits for its server.
const STATEMENTS: Duration = Duration::from_secs(7);

/// How long it may take to archive what was written last: a slow store is waited for.
const ARCHIVE: Duration = Duration::from_mins(2);

/// An answer is a status of a few kilobytes; more than this is not one.
const LONGEST: usize = 4 << 20;

/// Why there was no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its certificate cannot be verified.
    #[error("verify the agent of {instance}")]
    Tls {
        /// Which instance.
        instance: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer in time.
    #[error("the agent of {instance} did not answer within {seconds} s")]
    Deadline {
        /// Which instance.
        instance: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection failed.
    #[error("ask the agent of {instance}")]
    Connection {
        /// Which instance.
        instance: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered that something is wrong.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// It does not know this installation's token.
    #[error("the agent of {instance} does not know the token in its Secret yet")]
    Stranger {
        /// Which instance.
        instance: String,
    },
    /// It answered something else than what was asked for.
    #[error("the answer of the agent of {instance} could not be understood (status {status})")]
    Form {
        /// Which instance.
        instance: String,
        /// HTTP status.
        status: u16,
    },
}

impl IntoProblem for AgentError {
    fn problem(&self) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Deadline { .. } | Self::Connection { .. } | Self::Tls { .. } => {
                of(Class::Transient, "agent-silent").hint(
                    "The database may be serving meanwhile. `kubectl describe pod` and `kubectl \
                     logs` show how its pod is.",
                )
            }
            Self::Refused(problem) => (**problem).clone(),
            Self::Stranger { .. } => of(Class::Transient, "agent-token").hint(
                "The kubelet shows its pod a changed Secret within a minute or two; the database \
                 serves meanwhile.",
            ),
            Self::Form { .. } => of(Class::Internal, "agent-answer").hint(
                "Agent and `boma` may be of different versions: delete the pod, and it starts \
                 with this one.",
            ),
        }
    }
}

/// Where an agent is, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Namespace and name of its pod.
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// Address of its pod.
    pub(crate) ip: String,
    /// The name in its certificate.
    pub(crate) name: String,
    /// What it lets in.
    pub(crate) token: String,
    /// Who signed its certificate, PEM.
    pub(crate) authority: String,
}

impl Address {
    fn instance(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }
}

/// Asks agents.
#[derive(Clone)]
pub(crate) struct Agents {
    client: Client,
    road: Road,
}

impl Agents {
    pub(crate) fn new(client: Client, road: Road) -> Self {
        Self { client, road }
    }

    /// What an agent knows as soon as it is newer than `after`, or when `wait` is over.
    pub(crate) async fn status(
        &self,
        at: &Address,
        after: u64,
        wait: Duration,
    ) -> Result<Reported, AgentError> {
        let path = format!("{}?after={after}&wait={}", api::STATUS, wait.as_secs());
        let asked = self.request(at, Method::GET, &path, None::<&()>);
        within(at, wait + STATUS, asked).await
    }

    /// Hands an assignment over; the agent has stored it when this returns.
    pub(crate) async fn assign(
        &self,
        at: &Address,
        assignment: &Assignment,
    ) -> Result<Accepted, AgentError> {
        let asked = self.request(at, Method::PUT, api::ASSIGNMENT, Some(assignment));
        within(at, ACCEPT, asked).await
    }

    /// Asks an agent to look at its server now.
    pub(crate) async fn look(&self, at: &Address) -> Result<(), AgentError> {
        within(
            at,
            ACCEPT,
            self.send(at, Method::POST, api::LOOK, None::<&()>),
        )
        .await?;
        Ok(())
    }

    /// What an agent has measured lately. Whoever looks at a page waits for it.
    pub(crate) async fn history(&self, at: &Address) -> Result<History, AgentError> {
        let asked = self.request(at, Method::GET, api::HISTORY, None::<&()>);
        within(at, PAGE, asked).await
    }

    /// What a database spends its time with, by its server.
    pub(crate) async fn statements(&self, at: &Address) -> Result<Statements, AgentError> {
        let asked = self.request(at, Method::GET, api::STATEMENTS, None::<&()>);
        within(at, STATEMENTS, asked).await
    }

    /// The end of a server's log; none: there is none yet.
    pub(crate) async fn log(&self, at: &Address) -> Result<Option<String>, AgentError> {
        let asked = self.request(at, Method::GET, api::LOG, None::<&()>);
        within(at, STATUS, asked).await
    }

    /// Has long work done, and returns what came of it, however long that takes. The agent goes on
    /// with it when nobody waits any more.
    pub(crate) async fn order<A: DeserializeOwned>(
        &self,
        at: &Address,
        path: &str,
    ) -> Result<A, AgentError> {
        self.request(at, Method::POST, path, None::<&()>).await
    }

    /// Deletes a base backup, and returns when it is gone; a job that goes on is waited for.
    pub(crate) async fn delete_backup(&self, at: &Address, label: &str) -> Result<(), AgentError> {
        let path = format!("{}/{label}", api::BACKUPS);
        self.send(at, Method::DELETE, &path, None::<&()>).await?;
        Ok(())
    }

    /// Has everything archived that was written until now.
    pub(crate) async fn archive(&self, at: &Address) -> Result<(), AgentError> {
        let asked = self.send(at, Method::POST, api::ARCHIVE, None::<&()>);
        within(at, ARCHIVE, asked).await?;
        Ok(())
    }

    async fn request<A: DeserializeOwned>(
        &self,
        at: &Address,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, AgentError> {
        let (status, bytes) = self.send(at, method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|_other_form| AgentError::Form {
            instance: at.instance(),
            status: status.as_u16(),
        })
    }

    async fn send(
        &self,
        at: &Address,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Bytes), AgentError> {
        let span = spans::agent_request(method.as_str(), path, &at.name);
        let sent = self.send_on_road(at, method, path, body);
        let answer = sent.instrument(span.clone()).await;
        match &answer {
            Ok((status, _)) => spans::answered(&span, status.as_u16()),
            Err(error) => spans::failed(&span, &error.problem()),
        }
        answer
    }

    async fn send_on_road(
        &self,
        at: &Address,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Bytes), AgentError> {
        match self.road {
            Road::Direct => {
                let target = (at.ip.as_str(), api::pod::PORT);
                let stream = within(at, CONNECT, async {
                    let stream = TcpStream::connect(target).await;
                    stream.map_err(|error| broken(at, error))
                })
                .await?;
                exchange(at, stream, method, path, body).await
            }
            Road::Forwarded => {
                let pods = Api::<Pod>::namespaced(self.client.clone(), &at.namespace);
                let mut forwarder = within(at, CONNECT, async {
                    let ports = [api::pod::PORT];
                    let opened = pods.portforward(&at.pod, &ports).await;
                    opened.map_err(|error| broken(at, error))
                })
                .await?;
                let stream = forwarder
                    .take_stream(api::pod::PORT)
                    .ok_or_else(|| broken(at, "no stream was forwarded"))?;
                let answer = exchange(at, stream, method, path, body).await;
                forwarder.abort();
                answer
            }
        }
    }
}

/// One request on a connection of its own: TLS, the request, its answer.
async fn exchange(
    at: &Address,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(StatusCode, Bytes), AgentError> {
    let tls = |source: Box<dyn std::error::Error + Send + Sync>| AgentError::Tls {
        instance: at.instance(),
        source,
    };
    let name = ServerName::try_from(at.name.clone()).map_err(|error| tls(error.into()))?;
    let connector = connector(&at.authority).map_err(tls)?;
    let stream = within(at, CONNECT, async {
        let stream = connector.connect(name, stream).await;
        stream.map_err(|error| tls(error.into()))
    })
    .await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(at, error))?;
    let body = match body {
        Some(body) => serde_json::to_vec(body).map_err(|error| broken(at, error))?,
        None => Vec::new(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "agent")
        .header("authorization", format!("Bearer {}", at.token))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken(at, error))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| broken(at, error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        Ok((status, body.map_err(|error| broken(at, error))?.to_bytes()))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven beside the exchange and dropped with it. It may end first, when the
    // agent closes it after its answer: the exchange still has that.
    let (status, bytes) = tokio::select! {
        outcome = &mut exchange => outcome?,
        ended = connection => match ended {
            Ok(()) => exchange.await?,
            Err(error) => return Err(broken(at, error)),
        },
    };
    if status.is_success() {
        return Ok((status, bytes));
    }
    if status == StatusCode::UNAUTHORIZED {
        let instance = at.instance();
        return Err(AgentError::Stranger { instance });
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Err(AgentError::Refused(Box::new(problem))),
        Err(_other_form) => Err(AgentError::Form {
            instance: at.instance(),
            status: status.as_u16(),
        }),
    }
}

fn connector(authority: &str) -> Result<TlsConnector, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn broken(at: &Address, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AgentError {
    AgentError::Connection {
        instance: at.instance(),
        source: source.into(),
    }
}

async fn within<T>(
    at: &Address,
    deadline: Duration,
    asked: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    let answer = tokio::time::timeout(deadline, asked).await;
    answer.unwrap_or_else(|_too_late| {
        Err(AgentError::Deadline {
            instance: at.instance(),
            seconds: deadline.as_secs(),
        })
    })
}
