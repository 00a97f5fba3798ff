//! The installation's certificate authority and the certificates of its servers.

use std::net::IpAddr;

use boma_instance::{Listen, Secret, TlsMaterial};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use uuid::Uuid;

use crate::store::CertificateRow;

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
pub enum TlsError {
    /// The library refused.
    #[error("{doing}")]
    Certificate {
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

impl IntoProblem for TlsError {
    fn problem(&self) -> Problem {
        match self {
            Self::Certificate { .. } => {
                Problem::from_error(Class::Internal, "certificate-failed", self)
            }
            Self::Clock { .. } => Problem::from_error(Class::Config, "clock-wrong", self)
                .hint("Set the clock of this machine."),
        }
    }
}

/// The installation's authority, PEM.
#[derive(Clone)]
pub(crate) struct Authority {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Makes a new one.
    pub(crate) fn create(installation: Uuid, now: Timestamp) -> Result<Self, TlsError> {
        let failed = |source| TlsError::Certificate {
            doing: "make the certificate authority",
            source,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = authority_params(installation);
        set_validity(&mut params, now, AUTHORITY_DAYS)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Makes a server's certificate.
    fn issue(
        &self,
        installation: Uuid,
        subjects: &[String],
        now: Timestamp,
    ) -> Result<CertificateRow, TlsError> {
        let failed = |source| TlsError::Certificate {
            doing: "make a server's certificate",
            source,
        };
        let authority_key = KeyPair::from_pem(&self.key).map_err(failed)?;
        let issuer = Issuer::new(authority_params(installation), authority_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(
            DnType::CommonName,
            subjects.first().map_or("boma", String::as_str),
        );
        params.subject_alt_names = subjects
            .iter()
            .map(|name| subject(name))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, SERVER_DAYS)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let renew_at = now
            .checked_add(SignedDuration::from_hours(24 * (SERVER_DAYS - RENEW_DAYS)))
            .map_err(|_beyond_time| TlsError::Clock { now })?;
        Ok(CertificateRow {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            subjects: subjects.to_vec(),
            renew_at,
        })
    }

    /// The server's certificate: the one it has while that is still right, or else a new one.
    /// Tells whether it is new.
    pub(crate) fn certificate_for(
        &self,
        installation: Uuid,
        listen: &Listen,
        current: Option<CertificateRow>,
        now: Timestamp,
    ) -> Result<(CertificateRow, Freshness), TlsError> {
        let subjects = subjects(listen);
        match current {
            Some(row) if row.subjects == subjects && row.renew_at > now => {
                Ok((row, Freshness::Kept))
            }
            Some(_) | None => Ok((self.issue(installation, &subjects, now)?, Freshness::New)),
        }
    }

    /// What a server is given.
    pub(crate) fn material(&self, row: &CertificateRow) -> TlsMaterial {
        TlsMaterial {
            certificate: row.certificate.clone(),
            key: Secret::new(row.key.clone()),
            authority: self.certificate.clone(),
        }
    }
}

/// Whether a certificate has to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The stored one goes on.
    Kept,
    /// It was just made.
    New,
}

/// All names and the address, whether or not the names resolve on this machine.
fn subjects(listen: &Listen) -> Vec<String> {
    let mut subjects = listen.names.clone();
    subjects.push(listen.address.to_string());
    subjects.push("localhost".to_owned());
    subjects
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
fn set_validity(params: &mut CertificateParams, now: Timestamp, days: i64) -> Result<(), TlsError> {
    let midnight = |days: i64| {
        let date = now
            .checked_add(SignedDuration::from_hours(24 * days))?
            .to_zoned(TimeZone::UTC)
            .date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        Ok(rcgen::date_time_ymd(
            date.year().into(),
            part(date.month()),
            part(date.day()),
        ))
    };
    let clock = |_beyond_time: jiff::Error| TlsError::Clock { now };
    params.not_before = midnight(-BACKDATED_DAYS).map_err(clock)?;
    params.not_after = midnight(days).map_err(clock)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn listen(names: &[&str]) -> Listen {
        Listen {
            address: "127.64.1.2".parse().unwrap(),
            port: 5432,
            names: names.iter().map(ToString::to_string).collect(),
        }
    }

    fn now() -> Timestamp {
        Timestamp::now()
    }

    #[test]
    fn a_certificate_is_kept_until_names_change_or_a_month_is_left() {
        let (home, listen) = (Uuid::from_u128(1), listen(&["a.internal"]));
        let authority = Authority::create(home, now()).unwrap();
        let issue = |listen: &Listen, current, now| {
            authority
                .certificate_for(home, listen, current, now)
                .unwrap()
        };
        let (row, fresh) = issue(&listen, None, now());
        assert_eq!(fresh, Freshness::New);
        let later = |days: i64| now() + SignedDuration::from_hours(24 * days);
        assert_eq!(
            issue(&listen, Some(row.clone()), later(334)).1,
            Freshness::Kept
        );
        assert_eq!(
            issue(&listen, Some(row.clone()), later(336)).1,
            Freshness::New
        );
        let mut renamed = listen.clone();
        renamed.names.push("b.internal".to_owned());
        let (row, fresh) = issue(&renamed, Some(row), now());
        assert_eq!(fresh, Freshness::New);
        assert_eq!(
            row.subjects,
            ["a.internal", "b.internal", "127.64.1.2", "localhost"]
        );
    }

    /// openssl is what psql and most drivers verify with.
    #[test]
    fn openssl_verifies_name_and_address() {
        let dir = tempfile::tempdir().unwrap();
        let home = Uuid::from_u128(1);
        let authority = Authority::create(home, now()).unwrap();
        let (row, _) = authority
            .certificate_for(home, &listen(&["a.internal"]), None, now())
            .unwrap();
        std::fs::write(dir.path().join("ca.pem"), &authority.certificate).unwrap();
        std::fs::write(dir.path().join("server.pem"), &row.certificate).unwrap();
        let verify = |kind: &str, name: &str| {
            Command::new("openssl")
                .args([
                    "verify",
                    "-x509_strict",
                    "-purpose",
                    "sslserver",
                    "-CAfile",
                    "ca.pem",
                    kind,
                    name,
                    "server.pem",
                ])
                .current_dir(dir.path())
                .output()
                .map(|output| output.status.success())
                .unwrap()
        };
        assert!(verify("-verify_hostname", "a.internal"));
        assert!(verify("-verify_ip", "127.64.1.2"));
        assert!(!verify("-verify_hostname", "b.internal"));
        let text = Command::new("openssl")
            .args([
                "x509",
                "-noout",
                "-enddate",
                "-checkend",
                &(363 * 86400).to_string(),
                "-in",
                "server.pem",
            ])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(text.status.success(), "it lasts a year");
    }
}
