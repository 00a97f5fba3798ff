//! A `boma serve` somewhere else, as its HTTP API answers.

use std::fs;
use std::time::Duration;

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_instance::Secret;
use boma_problem::{Class, IntoProblem, Place, Problem};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::Global;
use crate::session::Names;
use crate::terminal::Result;

/// How long to wait for a connection.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long to wait for an answer: a change is read back from its repository first.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many resources are asked for at once.
const PAGE: usize = 500;

/// The variable that has the token.
const TOKEN: &str = "BOMA_TOKEN";

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// Its address would send the token unencrypted through a network.
    #[error("`{0}` is neither encrypted nor on this machine")]
    NotEncrypted(String),
    /// There is no token.
    #[error("there is no token for `{0}`")]
    NoToken(String),
    /// The file with the token cannot be read.
    #[error("read the token in `{path}`")]
    TokenFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not answer.
    #[error("`{server}` does not answer")]
    Silent {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// What answers is not the API of Boma.
    #[error("what answers at `{server}` is no Boma: {what}")]
    NotBoma {
        /// The server.
        server: String,
        /// What it says instead.
        what: String,
    },
}

impl IntoProblem for RemoteError {
    fn problem(&self) -> Problem {
        let (class, code, hint) = match self {
            Self::NotEncrypted(_) => (
                Class::User,
                "server-unencrypted",
                "Name it with https; or reach it through `ssh -L 9480:127.0.0.1:9480 HOST` as http://127.0.0.1:9480.",
            ),
            Self::NoToken(_) => (
                Class::User,
                "server-without-token",
                "`boma token create NAME --role ROLE`, where Boma runs, prints one. Put it into BOMA_TOKEN, or into a \
                 file that `--token-file` names.",
            ),
            Self::TokenFile { .. } => (
                Class::User,
                "token-unreadable",
                "Name a file that holds the token and nothing else.",
            ),
            Self::Silent { .. } => (
                Class::Transient,
                "server-silent",
                "Look whether the address is right, and whether `boma serve` runs there with its dashboard.",
            ),
            Self::NotBoma { .. } => (
                Class::User,
                "server-unknown",
                "Name the address of a dashboard: scheme, host and port, and nothing behind them.",
            ),
        };
        Problem::from_error(class, code, self).hint(hint)
    }
}

/// A problem as a server answers with it.
#[derive(Debug, Deserialize)]
struct Told {
    title: String,
    code: String,
    place: Option<Place>,
    hints: Vec<String>,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
struct Part {
    items: Vec<Value>,
    next: Option<String>,
}

/// A server, and what lets this program in.
pub(crate) struct Remote {
    client: Client,
    origin: String,
    token: Secret<String>,
}

impl Remote {
    /// The server that is to be asked, if one is.
    pub(crate) fn of(global: &Global) -> Result<Option<Self>> {
        let Some(server) = &global.server else {
            return Ok(None);
        };
        let origin = origin(server).map_err(|error| error.problem())?;
        let token = token(global, &origin).map_err(|error| error.problem())?;
        // Another part of this process may have installed the same one.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECTING)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let silent = |source| RemoteError::Silent {
            server: origin.clone(),
            source,
        };
        let client = client.map_err(|error| silent(error).problem())?;
        Ok(Some(Self {
            client,
            origin,
            token,
        }))
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let bearer = format!("Bearer {}", self.token.expose());
        self.client
            .request(method, format!("{}/api/v1/{path}", self.origin))
            .header(AUTHORIZATION, bearer)
    }

    /// The answer to a request, unless it is a problem.
    async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await;
        let answer = answer.map_err(|source| self.silent(source))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.bytes().await;
        let body = body.map_err(|source| self.silent(source))?;
        let told: Told = serde_json::from_slice(&body)
            .map_err(|_not_a_problem| self.not_boma(status.to_string()))?;
        Err(told.problem(status).into())
    }

    fn silent(&self, source: reqwest::Error) -> Problem {
        let server = self.origin.clone();
        RemoteError::Silent { server, source }.problem()
    }

    fn not_boma(&self, what: String) -> Problem {
        let server = self.origin.clone();
        RemoteError::NotBoma { server, what }.problem()
    }

    async fn read_answer<T: DeserializeOwned>(&self, answer: Response) -> Result<T> {
        let body = answer.bytes().await;
        let body = body.map_err(|source| self.silent(source))?;
        self.read_json(&body)
    }

    fn read_json<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        let read = serde_json::from_slice(body);
        Ok(read.map_err(|error| self.not_boma(error.to_string()))?)
    }

    /// What is at a path below `/api/v1/`.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.ask(Method::GET, path).timeout(PATIENCE);
        let answer = self.answer(request).await?;
        self.read_answer(answer).await
    }

    /// The same, with the version that a change of it has to name.
    pub(crate) async fn read_version<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, Option<String>)> {
        let request = self.ask(Method::GET, path).timeout(PATIENCE);
        let answer = self.answer(request).await?;
        let version = answer.headers().get(ETAG);
        let version = version.and_then(|text| text.to_str().ok().map(str::to_owned));
        Ok((self.read_answer(answer).await?, version))
    }

    /// What is at a path, as text.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let request = self.ask(Method::GET, path).timeout(PATIENCE);
        let answer = self.answer(request.header(ACCEPT, "text/plain")).await?;
        Ok(answer.text().await.map_err(|source| self.silent(source))?)
    }

    /// Sends a document; answers with what is answered, or nothing.
    pub(crate) async fn send(
        &self,
        (method, path): (Method, &str),
        version: Option<&str>,
        body: &Value,
    ) -> Result<Value> {
        let mut request = self.ask(method.clone(), path).timeout(PATIENCE);
        if let Some(version) = version {
            request = request.header(IF_MATCH, version);
        }
        if method == Method::POST {
            request = request.header("idempotency-key", Uuid::new_v4().to_string());
        }
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = self.answer(request.body(body.to_string())).await?;
        let body = answer.bytes().await;
        let body = body.map_err(|source| self.silent(source))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        self.read_json(&body)
    }

    /// All resources of a kind: `databases` or `applications`.
    pub(crate) async fn all(&self, kind: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let part: Part = self
                .read(&format!("{kind}?limit={PAGE}&after={after}"))
                .await?;
            all.extend(part.items);
            match part.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// What there is, by name.
    pub(crate) async fn names(&self) -> Result<Names> {
        let databases = self.all("databases").await?;
        let applications = self.all("applications").await?;
        let name = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
        Ok(Names::of(
            databases
                .iter()
                .map(|one| DatabaseKey::new(name(one, "project"), name(one, "name")))
                .collect(),
            applications
                .iter()
                .map(|one| ApplicationKey::new(name(one, "project"), name(one, "name")))
                .collect(),
        ))
    }

    /// Follows what happens; each document of a kind of event is handed over until the server ends it.
    pub(crate) async fn follow(
        &self,
        kind: &str,
        mut each: impl FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        let mut answer = self.answer(self.ask(Method::GET, "stream")).await?;
        let mut text = Vec::new();
        loop {
            let chunk = answer.chunk().await;
            let Some(chunk) = chunk.map_err(|source| self.silent(source))? else {
                return Ok(());
            };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                if let Some(document) = document(&String::from_utf8_lossy(&event), kind) {
                    each(document)?;
                }
            }
        }
    }
}

/// The document of a server-sent event, if it is of that kind.
fn document(event: &str, kind: &str) -> Option<Value> {
    let field = |name: &str| {
        let lines = event.lines();
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let data = field("data").filter(|_| field("event") == Some(kind))?;
    serde_json::from_str(data).ok()
}

impl Told {
    fn problem(self, status: StatusCode) -> Problem {
        let again = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        let class = if again.contains(&status) {
            Class::Transient
        } else if status.is_server_error() {
            Class::Internal
        } else {
            Class::User
        };
        Problem {
            place: self.place,
            hints: self.hints,
            ..Problem::new(class, &self.code, self.title)
        }
    }
}

/// Scheme, host and port of an address. Nothing that lets in is sent unencrypted through a network.
fn origin(server: &str) -> std::result::Result<String, RemoteError> {
    let origin = server.trim_end_matches('/');
    let Some((scheme, host)) = origin.split_once("://") else {
        let what = "its address has no scheme".to_owned();
        let server = server.to_owned();
        return Err(RemoteError::NotBoma { server, what });
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|one| one.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_here = name == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if scheme == "https" || (scheme == "http" && is_here) {
        return Ok(origin.to_owned());
    }
    Err(RemoteError::NotEncrypted(server.to_owned()))
}

fn token(global: &Global, origin: &str) -> std::result::Result<Secret<String>, RemoteError> {
    let token = match (&global.token_file, std::env::var(TOKEN)) {
        (Some(path), _) => fs::read_to_string(path).map_err(|source| RemoteError::TokenFile {
            path: path.display().to_string(),
            source,
        })?,
        (None, Ok(token)) => token,
        (None, Err(_)) => String::new(),
    };
    let token = token.trim();
    let is_one = !token.is_empty() && token.bytes().all(|one| one.is_ascii_graphic());
    is_one
        .then(|| Secret::new(token.to_owned()))
        .ok_or_else(|| RemoteError::NoToken(origin.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_encrypted_or_on_this_machine() {
        for (server, shown) in [
            ("https://boma.example/", "https://boma.example"),
            ("http://127.0.0.1:9480", "http://127.0.0.1:9480"),
            ("http://localhost:9480/", "http://localhost:9480"),
            ("http://[::1]:9480", "http://[::1]:9480"),
        ] {
            assert_eq!(origin(server).unwrap(), shown);
        }
        for server in [
            "http://boma.example",
            "http://127.0.0.1.example",
            "ftp://localhost",
        ] {
            let problem = origin(server).unwrap_err().problem();
            assert_eq!(problem.code, "server-unencrypted");
            assert!(
                problem.to_string().contains("neither encrypted"),
                "{problem}"
            );
        }
        let problem = origin("boma.example").unwrap_err().problem();
        assert_eq!(problem.code, "server-unknown");
        assert!(problem.to_string().contains("is no Boma"), "{problem}");
    }

    #[test]
    fn events_are_taken_apart() {
        let event = "id: 1\nevent: event\ndata: {\"count\":1}\n\n";
        assert_eq!(document(event, "event").unwrap()["count"], 1);
        assert_eq!(document(event, "standing"), None);
        assert_eq!(document(":\n\n", "event"), None);
    }

    #[test]
    fn what_a_server_tells_is_told() {
        let place = Place {
            file: "a.yaml".to_owned(),
            line: 3,
            column: 1,
            length: 4,
            text: "spec".to_owned(),
        };
        let details = serde_json::json!({
            "type": "urn:boma:problem:not-allowed", "title": "no", "status": 403,
            "code": "not-allowed", "place": place, "hints": ["Ask."],
        });
        let told: Told = serde_json::from_value(details).unwrap();
        let problem = told.problem(StatusCode::FORBIDDEN);
        assert_eq!(
            (&*problem.code, problem.class),
            ("not-allowed", Class::User)
        );
        assert_eq!(problem.place, Some(place));
        assert_eq!(problem.hints, ["Ask."]);
    }
}
