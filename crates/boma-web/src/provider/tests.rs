//! Identity tokens that are believed, and those that are not; who they make of somebody.

use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://login.example";

/// A provider's key, made anew by each test.
struct Key {
    pair: EcdsaKeyPair,
    id: &'static str,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { pair, id }
    }

    fn set(&self) -> JwkSet {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (part(&point[1..33]), part(&point[33..]));
        let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id});
        serde_json::from_value(json!({"keys": [key]})).unwrap()
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let said = format!("{}.{}", part(header), part(claims));
        let signed = self
            .pair
            .sign(&SystemRandom::new(), said.as_bytes())
            .unwrap();
        format!("{said}.{}", BASE64_URL_SAFE_NO_PAD.encode(signed))
    }
}

fn claims_with(field: &str, value: Value) -> Value {
    let soon = jiff::Timestamp::now().as_second() + 60;
    let mut claims = json!({"iss": ISSUER, "aud": "boma", "sub": "17", "exp": soon});
    claims[field] = value;
    claims
}

#[test]
fn a_token_of_the_provider_for_this_client_is_believed() {
    keys::install();
    let key = Key::new("one");
    let header = json!({"alg": "ES256", "kid": "one"});
    let read = |header: &Value, claims: &Value| {
        keys::claims(&key.token(header, claims), &key.set(), ISSUER, "boma")
    };
    let claims = read(&header, &claims_with("name", json!("Ana"))).unwrap();
    assert_eq!(claims["name"], "Ana");
    assert!(read(&json!({"alg": "ES256"}), &claims_with("a", json!(1))).is_ok());
    let past = jiff::Timestamp::now().as_second() - 3600;
    for (field, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("another")),
        ("aud", json!(["boma", "another"])),
        ("azp", json!("another")),
        ("exp", json!(past)),
        ("nbf", json!(past + 7200)),
        ("sub", Value::Null),
    ] {
        let refused = read(&header, &claims_with(field, value.clone()));
        assert!(refused.is_err(), "{field}: {value}");
    }
    let both = json!({"alg": "ES256", "kid": "two"});
    let unknown = read(&both, &claims_with("a", json!(1))).unwrap_err();
    assert!(unknown.to_string().contains(keys::UNKNOWN), "{unknown}");
}

#[test]
fn a_token_that_somebody_else_has_signed_is_not_believed() {
    keys::install();
    let (key, other) = (Key::new("one"), Key::new("one"));
    let claims = claims_with("a", json!(1));
    let read = |token: &str| keys::claims(token, &key.set(), ISSUER, "boma");
    let header = json!({"alg": "ES256", "kid": "one"});
    assert!(read(&other.token(&header, &claims)).is_err());
    // Neither an algorithm that needs no key, nor one whose key all know.
    for algorithm in ["none", "HS256", "ES384", "RS256", "EdDSA"] {
        let header = json!({"alg": algorithm, "kid": "one"});
        assert!(read(&key.token(&header, &claims)).is_err(), "{algorithm}");
    }
    let good = key.token(&header, &claims);
    let (said, signature) = good.rsplit_once('.').unwrap();
    let other = BASE64_URL_SAFE_NO_PAD.encode(claims_with("a", json!(2)).to_string());
    let (head, _) = said.split_once('.').unwrap();
    for text in [
        format!("{head}.{other}.{signature}"),
        format!("{said}."),
        said.to_owned(),
        String::new(),
    ] {
        assert!(read(&text).is_err(), "{text}");
    }
}

fn provider(groups: &[(&str, &str)]) -> Provider {
    let groups = groups
        .iter()
        .map(|(group, role)| ((*group).to_owned(), vec![role.parse().unwrap()]));
    Provider::new(ProviderSettings {
        issuer: ISSUER.to_owned(),
        client_id: "boma".to_owned(),
        client_secret: None,
        groups_claim: "groups".to_owned(),
        groups: Some(groups.collect()),
    })
    .unwrap()
}

fn person(claims: &Value) -> Result<(String, String, usize), String> {
    let provider = provider(&[("dba", "admin"), ("devs", "developer:acme")]);
    let said = provider.person(claims.as_object().unwrap());
    let said = said.map_err(|error| error.problem().to_string())?;
    let roles = said.roles.unwrap_or_default().len();
    Ok((said.name.to_string(), said.email, roles))
}

#[test]
fn who_somebody_is_comes_from_what_the_provider_vouches_for() {
    let said = |name: &str, email: &str, roles| Ok((name.to_owned(), email.to_owned(), roles));
    for (claims, who) in [
        (
            json!({"sub": "1", "preferred_username": "Ana", "groups": ["devs", "x", "dba"]}),
            said("ana", "", 2),
        ),
        (
            json!({"sub": "1", "email": "Ana@Shop.example", "email_verified": true}),
            said("ana@shop.example", "Ana@Shop.example", 0),
        ),
        (
            json!({"sub": "1", "email": "root@shop.example", "groups": "dba"}),
            said("1", "", 0),
        ),
        (
            json!({"sub": "A B", "preferred_username": "Ana B"}),
            Err("the provider names nobody in a way that can be used here: `Ana B`".to_owned()),
        ),
    ] {
        assert_eq!(person(&claims), who, "{claims}");
    }
}

#[test]
fn a_provider_is_asked_where_nobody_reads_along() {
    for url in [
        "https://login.example/x",
        "http://127.0.0.1:80/x",
        "http://localhost",
    ] {
        assert!(is_safe(url).is_ok(), "{url}");
    }
    for url in [
        "http://login.example",
        "http://127.0.0.1.example/",
        "http://localhost@login.example/",
        "ftp://127.0.0.1",
        "",
    ] {
        let refused = is_safe(url).unwrap_err().problem();
        assert_eq!(refused.code, "provider-not-encrypted", "{url}");
        assert!(refused.to_string().contains("neither https"), "{refused}");
    }
}

#[test]
fn what_goes_wrong_with_a_provider_is_said() {
    for (error, code, text) in [
        (
            ProviderError::NotAsked,
            "provider-not-asked",
            "does not belong",
        ),
        (
            ProviderError::Refused("access_denied".to_owned()),
            "provider-refused",
            "the provider says: access_denied",
        ),
        (
            ProviderError::Other("no"),
            "provider-token",
            "not for this sign-in",
        ),
        (
            ProviderError::Answer("u".to_owned(), "404".to_owned()),
            "provider-answer",
            "from `u` cannot be used: 404",
        ),
        (
            ProviderError::NoRandom,
            "provider-no-random",
            "no random bytes",
        ),
        (
            ProviderError::None,
            "provider-none",
            "no provider is configured",
        ),
        (
            ProviderError::Name("A".to_owned()),
            "provider-name",
            "names nobody",
        ),
    ] {
        let problem = error.problem();
        assert_eq!(problem.code, code);
        assert!(problem.to_string().contains(text), "{problem}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_said_to_be_silent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let mut silent = provider(&[]);
    silent.settings.issuer = format!("http://{at}");
    let refused = silent
        .begin("http://127.0.0.1")
        .await
        .unwrap_err()
        .problem();
    assert_eq!(refused.code, "provider-silent");
    assert!(refused.to_string().contains(&at.to_string()), "{refused}");
}
