//! Signing in with an OpenID provider: the code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636).
//!
//! ```text
//!   /sign-in/provider ─► provider ─► /sign-in/provider/return?code&state ─► tokens ─► who it is ─► session
//!          └─ signed cookie: state, nonce, PKCE verifier ──────┘
//! ```
//!
//! Nothing is kept on the server between the two: what was asked is in a cookie that lasts ten minutes. The
//! identity token is verified with the provider's keys; names and groups are taken from nothing else.

mod keys;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use boma_instance::Secret;
use boma_problem::{Class, IntoProblem, Problem};
use jsonwebtoken::jwk::JwkSet;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::people::{Assignment, PersonName, ProviderIdentity, Somebody};

/// How long the provider may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer, in bytes.
const LARGEST: usize = 1 << 20;

/// How long what the provider says of itself is taken as it was.
const FRESH: Duration = Duration::from_hours(1);

/// Where the provider sends people back to.
pub(crate) const RETURN: &str = "/sign-in/provider/return";

/// Which provider, and what its groups are.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its identifier; its configuration is below it.
    pub issuer: String,
    /// What it calls this dashboard.
    pub client_id: String,
    /// What this dashboard proves itself with; none: it is a public client.
    pub client_secret: Option<Secret<String>>,
    /// The claim with somebody's groups.
    pub groups_claim: String,
    /// What groups may do; none: roles are given here, by an admin.
    pub groups: Option<BTreeMap<String, Vec<Assignment>>>,
}

/// Why nobody is signed in with a provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Something other than HTTPS could be read and changed on the way.
    #[error("the provider `{0}` is not asked: it is neither https nor on this machine")]
    NotEncrypted(String),
    /// It does not answer.
    #[error("ask the provider `{0}`")]
    Silent(String, #[source] reqwest::Error),
    /// It answers with something else.
    #[error("the provider's answer from `{0}` cannot be used: {1}")]
    Answer(String, String),
    /// What came back does not belong to what was asked.
    #[error("this return from the provider does not belong to a sign-in of this browser")]
    NotAsked,
    /// It says that somebody is not let in.
    #[error("the provider says: {0}")]
    Refused(String),
    /// Its statement about somebody is not to be believed.
    #[error("the provider's identity token is not accepted")]
    Token(#[source] jsonwebtoken::errors::Error),
    /// Its statement is about another request, or for somebody else.
    #[error("the provider's identity token is not for this sign-in: {0}")]
    Other(&'static str),
    /// It names somebody in a way that nobody is named here.
    #[error("the provider names nobody in a way that can be used here: `{0}`")]
    Name(String),
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    NoRandom,
    /// There is no provider.
    #[error("no provider is configured")]
    None,
}

impl IntoProblem for ProviderError {
    fn problem(&self) -> Problem {
        let (class, code, hint) = match self {
            Self::NotEncrypted(_) => (
                Class::Config,
                "provider-not-encrypted",
                "Name it with https in `[dashboard.oidc]` of config.toml.",
            ),
            Self::Silent(..) => (
                Class::Transient,
                "provider-silent",
                "Try again; look whether `issuer` in `[dashboard.oidc]` is right, and whether this machine reaches it.",
            ),
            Self::Answer(..) => (
                Class::Config,
                "provider-answer",
                "Look whether `issuer`, `client-id` and `client-secret` in `[dashboard.oidc]` are those of the provider.",
            ),
            Self::NotAsked => (Class::User, "provider-not-asked", "Sign in once more."),
            Self::Refused(_) => (
                Class::User,
                "provider-refused",
                "Sign in as somebody else, or ask whoever runs the provider.",
            ),
            Self::Token(_) | Self::Other(_) => (
                Class::User,
                "provider-token",
                "Sign in once more; if it stays so, the clocks differ or the provider is not the one that is configured.",
            ),
            Self::Name(_) => (
                Class::User,
                "provider-name",
                "A name here has lower-case letters, digits, and . _ - + @; the provider's `preferred_username` or a verified `email` is taken.",
            ),
            Self::NoRandom => (Class::Transient, "provider-no-random", "Try again."),
            Self::None => (
                Class::User,
                "provider-none",
                "Sign in with name and password; `[dashboard.oidc]` in config.toml names a provider.",
            ),
        };
        Problem::from_error(class, code, self).hint(hint)
    }
}

/// What a provider says of itself.
#[derive(Clone, Debug, Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// What was asked, until somebody comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    state: String,
    nonce: String,
    verifier: String,
}

impl Asked {
    fn new() -> Result<Self, ProviderError> {
        let random = || {
            let mut bytes = [0_u8; 32];
            let filled = SystemRandom::new().fill(&mut bytes);
            filled.map_err(|ring::error::Unspecified| ProviderError::NoRandom)?;
            Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
        };
        Ok(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
        })
    }
}

/// What the token endpoint answers with.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// An OpenID provider.
pub(crate) struct Provider {
    settings: ProviderSettings,
    client: reqwest::Client,
    known: Mutex<Option<(Instant, Discovered, JwkSet)>>,
}

impl Provider {
    pub(crate) fn new(settings: ProviderSettings) -> Result<Self, ProviderError> {
        keys::install();
        // Another part of this process may have installed the same one.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client =
            client.map_err(|error| ProviderError::Silent(settings.issuer.clone(), error))?;
        Ok(Self {
            settings,
            client,
            known: Mutex::default(),
        })
    }

    /// What people know it by: its host.
    pub(crate) fn name(&self) -> &str {
        let rest = self.settings.issuer.split_once("://");
        let host = rest.map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        host.unwrap_or(&self.settings.issuer)
    }

    /// Where to send somebody, and what to remember until they come back.
    pub(crate) async fn begin(&self, url: &str) -> Result<(String, Asked), ProviderError> {
        let (discovered, _) = self.known(FRESH).await?;
        let asked = Asked::new()?;
        let challenge = digest(&SHA256, asked.verifier.as_bytes());
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &format!("{url}{RETURN}"))
            .append_pair("scope", "openid profile email")
            .append_pair("state", &asked.state)
            .append_pair("nonce", &asked.nonce)
            .append_pair("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256")
            .finish();
        let endpoint = discovered.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok((format!("{endpoint}{joint}{query}"), asked))
    }

    /// Who has come back, as a change of who there is.
    pub(crate) async fn complete(
        &self,
        url: &str,
        asked: &Asked,
        returned: &Returned<'_>,
    ) -> Result<Somebody, ProviderError> {
        if returned.state != asked.state {
            return Err(ProviderError::NotAsked);
        }
        if !returned.error.is_empty() {
            return Err(ProviderError::Refused(printable(returned.error)));
        }
        let (discovered, keys) = self.known(FRESH).await?;
        let tokens: Tokens = self
            .exchange(&discovered, url, asked, returned.code)
            .await?;
        let claims = match self.claims(&tokens.id_token, &keys) {
            // A key that is not known may be a new one.
            Err(ProviderError::Other(keys::UNKNOWN)) => {
                let (_, keys) = self.known(Duration::ZERO).await?;
                self.claims(&tokens.id_token, &keys)?
            }
            claims => claims?,
        };
        if claims.get("nonce").and_then(Value::as_str) != Some(&asked.nonce) {
            return Err(ProviderError::Other("its nonce is another one"));
        }
        self.person(&claims)
    }

    async fn exchange(
        &self,
        discovered: &Discovered,
        url: &str,
        asked: &Asked,
        code: &str,
    ) -> Result<Tokens, ProviderError> {
        let request = self.client.post(&discovered.token_endpoint);
        let (request, client) = match &self.settings.client_secret {
            Some(secret) => {
                let basic = basic(&self.settings.client_id, secret);
                (request.header("authorization", basic), None)
            }
            None => (request, Some(("client_id", &*self.settings.client_id))),
        };
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &format!("{url}{RETURN}"))
            .append_pair("code_verifier", &asked.verifier)
            .extend_pairs(client)
            .finish();
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        read(&discovered.token_endpoint, request).await
    }

    fn claims(&self, token: &str, keys: &JwkSet) -> Result<Map<String, Value>, ProviderError> {
        keys::claims(token, keys, &self.settings.issuer, &self.settings.client_id)
    }

    /// Who somebody is, by claims that were verified.
    fn person(&self, claims: &Map<String, Value>) -> Result<Somebody, ProviderError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_verified = claims.get("email_verified").and_then(Value::as_bool) == Some(true);
        let email = if is_verified { text("email") } else { "" };
        let called = [text("preferred_username"), email, text("sub")];
        let names = called
            .iter()
            .map(|one| one.to_lowercase().parse::<PersonName>());
        let name = names.flatten().next();
        Ok(Somebody {
            name: name.ok_or_else(|| ProviderError::Name(printable(called[0])))?,
            email: email.to_owned(),
            identity: ProviderIdentity {
                issuer: self.settings.issuer.clone(),
                subject: text("sub").to_owned(),
            },
            roles: self.roles(claims),
        })
    }

    /// What somebody's groups may do; none: groups say nothing here.
    fn roles(&self, claims: &Map<String, Value>) -> Option<Vec<Assignment>> {
        let groups = self.settings.groups.as_ref()?;
        let theirs = claims.get(&self.settings.groups_claim);
        let theirs = theirs.and_then(Value::as_array).into_iter().flatten();
        let roles = theirs
            .filter_map(Value::as_str)
            .filter_map(|one| groups.get(one));
        let mut roles: Vec<Assignment> = roles.flatten().cloned().collect();
        roles.sort();
        roles.dedup();
        Some(roles)
    }

    /// What the provider says of itself, and its keys, as of at most that long ago.
    async fn known(&self, fresh: Duration) -> Result<(Discovered, JwkSet), ProviderError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((at, discovered, keys)) = known
            && at.elapsed() < fresh
        {
            return Ok((discovered, keys));
        }
        let issuer = &self.settings.issuer;
        let below = issuer.trim_end_matches('/');
        let at = format!("{below}/.well-known/openid-configuration");
        let discovered: Discovered = self.get(&at).await?;
        if discovered.issuer != *issuer {
            let said = format!("it calls itself `{}`", printable(&discovered.issuer));
            return Err(ProviderError::Answer(at, said));
        }
        is_safe(&discovered.token_endpoint)?;
        let keys: JwkSet = self.get(&discovered.jwks_uri).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), discovered.clone(), keys.clone()));
        Ok((discovered, keys))
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, ProviderError> {
        is_safe(url)?;
        read(url, self.client.get(url)).await
    }
}

/// What somebody comes back with.
pub(crate) struct Returned<'r> {
    pub(crate) state: &'r str,
    pub(crate) code: &'r str,
    pub(crate) error: &'r str,
}

/// How a client proves itself. Both parts are encoded as forms are before they are encoded for the header
/// (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &Secret<String>) -> String {
    let encode =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let both = format!("{}:{}", encode(id), encode(secret.expose()));
    format!("Basic {}", BASE64_STANDARD.encode(both))
}

/// Asks, and reads JSON; what is no success is said with the beginning of it.
async fn read<T: DeserializeOwned>(
    url: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, ProviderError> {
    let silent = |error| ProviderError::Silent(url.to_owned(), error);
    let mut answer = request.send().await.map_err(silent)?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(silent)? {
        body.extend_from_slice(&part);
        if body.len() > LARGEST {
            let said = "it is larger than 1 MiB".to_owned();
            return Err(ProviderError::Answer(url.to_owned(), said));
        }
    }
    if !answer.status().is_success() {
        let begins = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let said = format!("{}: {}", answer.status(), printable(&begins));
        return Err(ProviderError::Answer(url.to_owned(), said));
    }
    serde_json::from_slice(&body)
        .map_err(|error| ProviderError::Answer(url.to_owned(), error.to_string()))
}

/// What somebody else has written, as it can be shown.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|one| !one.is_control())
        .take(200)
        .collect()
}

/// Whether nobody reads along: it is encrypted, or does not leave this machine.
fn is_safe(url: &str) -> Result<(), ProviderError> {
    let host = |rest: &str| {
        rest.split(['/', '?', '#'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let is_local = url.strip_prefix("http://").map(host).is_some_and(|host| {
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        matches!(name, "127.0.0.1" | "localhost" | "[::1]")
    });
    if url.starts_with("https://") || is_local {
        return Ok(());
    }
    Err(ProviderError::NotEncrypted(printable(url)))
}

#[cfg(test)]
mod tests;
