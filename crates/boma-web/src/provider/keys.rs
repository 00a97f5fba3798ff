//! Identity tokens: signatures by ring, which everything else here uses too; the rest by `jsonwebtoken`.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::ProviderError;

/// No key of the provider has signed a token.
pub(super) const UNKNOWN: &str = "none of the provider's keys has signed it";

/// What providers sign with, and how it is looked at. None of it is symmetric: a public key is no secret.
static MEANS: [(Algorithm, Means); 7] = [
    (Algorithm::RS256, Means::Rsa(&RSA_PKCS1_2048_8192_SHA256)),
    (Algorithm::RS384, Means::Rsa(&RSA_PKCS1_2048_8192_SHA384)),
    (Algorithm::RS512, Means::Rsa(&RSA_PKCS1_2048_8192_SHA512)),
    (Algorithm::PS256, Means::Rsa(&RSA_PSS_2048_8192_SHA256)),
    (Algorithm::ES256, Means::Other(&ECDSA_P256_SHA256_FIXED)),
    (Algorithm::ES384, Means::Other(&ECDSA_P384_SHA384_FIXED)),
    (Algorithm::EdDSA, Means::Other(&ED25519)),
];

fn means_of(algorithm: Algorithm) -> Option<&'static Means> {
    let mut means = MEANS.iter();
    means
        .find(|(one, _)| *one == algorithm)
        .map(|(_, means)| means)
}

static RING: CryptoProvider = CryptoProvider {
    // Nothing is signed here.
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| verifier(*algorithm, key),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring what tokens are verified with, once in a process.
pub(super) fn install() {
    let _installed_before = RING.install_default();
}

/// How a signature is looked at.
enum Means {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

struct RingVerifier {
    algorithm: Algorithm,
    means: &'static Means,
    key: DecodingKey,
}

fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let means = means_of(algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm,
        means,
        key: key.clone(),
    }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.means, self.key.kind()) {
            (Means::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Means::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signature)
            }
            (Means::Rsa(_) | Means::Other(_), _) => Err(ring::error::Unspecified),
        };
        verified.map_err(|ring::error::Unspecified| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// What a token says, if one of the keys has signed it, it is of this issuer, for this client, and its
/// time is not over.
pub(super) fn claims(
    token: &str,
    keys: &JwkSet,
    issuer: &str,
    client: &str,
) -> Result<Map<String, Value>, ProviderError> {
    let header = decode_header(token).map_err(ProviderError::Token)?;
    let key = match &header.kid {
        Some(id) => keys.find(id),
        // Without a name it can only be the one that there is.
        None => keys.keys.first().filter(|_| keys.keys.len() == 1),
    };
    let key = key.ok_or(ProviderError::Other(UNKNOWN))?;
    let key = DecodingKey::from_jwk(key).map_err(ProviderError::Token)?;
    if means_of(header.alg).is_none() {
        return Err(ProviderError::Token(ErrorKind::InvalidAlgorithm.into()));
    }
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    let decoded = decode::<Map<String, Value>>(token, &key, &validation);
    let claims = decoded.map_err(ProviderError::Token)?.claims;
    // OpenID Connect Core, 3.1.3.7: with more than one audience it says whom it was made for.
    let party = claims.get("azp").and_then(Value::as_str);
    let is_shared = claims
        .get("aud")
        .and_then(Value::as_array)
        .is_some_and(|all| all.len() > 1);
    if party.map_or(is_shared, |party| party != client) {
        return Err(ProviderError::Other("it was made for another client"));
    }
    Ok(claims)
}
