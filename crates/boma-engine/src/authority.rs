//! An installation's certificate authority and the certificates of its servers.

use std::net::IpAddr;

use boma_instance::{Secret, TlsMaterial};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use uuid::Uuid;

/// The authority: as long as a machine is likely to live; nobody renews it by hand.
const AUTHORITY_DAYS: i64 = 3650;
/// A server's certificate: clients limit what they accept to about a year.
const SERVER_DAYS: i64 = 365;
/// A server's certificate is renewed when fewer days are left.
const RENEW_DAYS: i64 = 30;
/// Clocks of two machines differ, and one that was just set goes back a little.
const BACKDATED_DAYS: i64 = 1;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("{doing}")]
    NotMade {
        /// What was to be made: a verb phrase.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A moment that no certificate can hold.
    #[error("the clock shows {now}, which no certificate can be made for")]
    Clock {
        /// What the clock shows.
        now: Timestamp,
    },
}

impl IntoProblem for CertificateError {
    fn problem(&self) -> Problem {
        match self {
            Self::NotMade { .. } => {
                Problem::from_error(Class::Internal, "certificate-failed", self)
            }
            Self::Clock { .. } => Problem::from_error(Class::Config, "clock-wrong", self)
                .hint("Set the clock of this machine."),
        }
    }
}

/// An installation's authority. Its key signs the certificates of all servers.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Which installation it is of; it is in the authority's name.
    pub installation: Uuid,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: Secret<String>,
}

impl Authority {
    /// Makes a new one, good for ten years.
    ///
    /// # Errors
    /// `now` is a time that no certificate can hold, or the system has no random numbers.
    pub fn create(installation: Uuid, now: Timestamp) -> Result<Self, CertificateError> {
        let failed = |source| CertificateError::NotMade {
            doing: "make the certificate authority",
            source,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = authority_params(installation);
        set_validity(&mut params, now, AUTHORITY_DAYS)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            installation,
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
        })
    }

    /// Makes a server's certificate for these names and addresses, and says until when it is good:
    /// a year.
    ///
    /// # Errors
    /// As of [`Authority::create`]; or a name is none.
    pub fn issue(
        &self,
        subjects: &[String],
        now: Timestamp,
    ) -> Result<(TlsMaterial, Timestamp), CertificateError> {
        let failed = |source| CertificateError::NotMade {
            doing: "make a server's certificate",
            source,
        };
        let authority_key = KeyPair::from_pem(self.key.expose()).map_err(failed)?;
        let issuer = Issuer::new(authority_params(self.installation), authority_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        // A common name holds 64 characters, and names of servers may be longer; nobody reads it.
        params
            .distinguished_name
            .push(DnType::CommonName, "boma instance");
        let names = subjects.iter().map(|name| subject(name));
        params.subject_alt_names = names.collect::<Result<_, _>>().map_err(failed)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, SERVER_DAYS)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let until = now
            .checked_add(days(SERVER_DAYS))
            .map_err(|_beyond_time| CertificateError::Clock { now })?;
        let material = TlsMaterial {
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
            authority: self.certificate.clone(),
        };
        Ok((material, until))
    }
}

/// From when on a certificate is renewed that is good until then: a month earlier.
pub fn renewed_from(until: Timestamp) -> Timestamp {
    until.saturating_sub(days(RENEW_DAYS)).unwrap_or(until)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn subject(name: &str) -> Result<SanType, rcgen::Error> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_a_name) => Ok(SanType::DnsName(name.try_into()?)),
    }
}

/// What names the authority; the same each time, so that an issuer can be made of its key alone.
fn authority_params(installation: Uuid) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Boma");
    params.distinguished_name.push(
        DnType::CommonName,
        format!("Boma installation {installation}"),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Sets from when to when a certificate is good, in whole days.
fn set_validity(
    params: &mut CertificateParams,
    now: Timestamp,
    length: i64,
) -> Result<(), CertificateError> {
    let midnight = |after: i64| {
        let date = now.checked_add(days(after))?.to_zoned(TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        Ok(rcgen::date_time_ymd(
            date.year().into(),
            part(date.month()),
            part(date.day()),
        ))
    };
    let clock = |_beyond_time: jiff::Error| CertificateError::Clock { now };
    params.not_before = midnight(-BACKDATED_DAYS).map_err(clock)?;
    params.not_after = midnight(length).map_err(clock)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_certificate_lasts_a_year_and_is_renewed_a_month_before() {
        let now = Timestamp::now();
        let authority = Authority::create(Uuid::from_u128(1), now).unwrap();
        let (_, until) = authority.issue(&names(&["a.internal"]), now).unwrap();
        assert_eq!(until.duration_since(now), days(365));
        assert_eq!(renewed_from(until).duration_since(now), days(335));
    }

    #[test]
    fn a_clock_beyond_all_time_is_said_to_be_wrong() {
        let problem = Authority::create(Uuid::from_u128(1), Timestamp::MAX)
            .map(drop)
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "clock-wrong");
        assert!(
            problem.message.starts_with("the clock shows 9999-12-30"),
            "{problem}"
        );
    }

    /// openssl is what psql and most drivers verify with.
    #[test]
    fn openssl_verifies_name_and_address_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}.{}.internal", "a".repeat(63), "b".repeat(63));
        let authority = Authority::create(Uuid::from_u128(1), Timestamp::now()).unwrap();
        let subjects = names(&[&long, "127.64.1.2"]);
        let (material, _) = authority.issue(&subjects, Timestamp::now()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), &authority.certificate).unwrap();
        std::fs::write(dir.path().join("server.pem"), &material.certificate).unwrap();
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            let status = command.args(arguments).current_dir(dir.path()).output();
            status.unwrap().status.success()
        };
        let verify = |kind: &str, name: &str| {
            let how = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"];
            openssl(&[&how[..], &["ca.pem", kind, name, "server.pem"]].concat())
        };
        assert!(verify("-verify_hostname", &long));
        assert!(verify("-verify_ip", "127.64.1.2"));
        assert!(!verify("-verify_hostname", "b.internal"));
        let seconds = (363 * 86400).to_string();
        let lasts = ["x509", "-noout", "-checkend", &seconds, "-in", "server.pem"];
        assert!(openssl(&lasts), "it lasts a year");
    }
}
