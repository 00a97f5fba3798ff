//! Certificates of this machine's servers: kept while they are right.

use boma_engine::authority::{Authority, CertificateError, renewed_from};
use boma_instance::{Listen, Secret, TlsMaterial};
use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{Access, CertificateRow, StoreError, StoredAuthorities};

/// The authorities of an installation: more than one while they are exchanged.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// Signs the certificates of servers.
    pub(crate) issuing: Authority,
    /// Will sign; trusted already.
    pub(crate) next: Option<Authority>,
    /// The certificate of the one that signed before; trusted still.
    pub(crate) former: Option<String>,
}

impl Authorities {
    /// Those that are stored; none: there is none yet.
    pub(crate) fn stored(
        state: &Access<'_>,
        installation: Uuid,
    ) -> Result<Option<Self>, StoreError> {
        let authority = |(certificate, key)| Authority {
            installation,
            certificate,
            key: Secret::new(key),
        };
        let stored = state.authorities()?;
        Ok(
            stored.map(|StoredAuthorities(certificate, key, next, former)| Self {
                issuing: authority((certificate, key)),
                next: next.map(authority),
                former,
            }),
        )
    }

    /// As they are stored, sealed.
    pub(crate) fn to_stored(&self) -> StoredAuthorities {
        let pair = |one: &Authority| (one.certificate.clone(), one.key.expose().clone());
        let (certificate, key) = pair(&self.issuing);
        let next = self.next.as_ref().map(pair);
        StoredAuthorities(certificate, key, next, self.former.clone())
    }

    /// Lets the next one sign, if there is one.
    pub(crate) fn switch(&mut self) {
        if let Some(next) = self.next.take() {
            let former = std::mem::replace(&mut self.issuing, next);
            self.former = Some(former.certificate);
        }
    }

    /// The certificates that clients may trust, PEM, one after the other.
    pub(crate) fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|one| one.certificate.as_str());
        let others = next.into_iter().chain(self.former.as_deref());
        std::iter::once(self.issuing.certificate.as_str())
            .chain(others)
            .collect()
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

/// The server's certificate: the one it has while that is still right, or else a new one.
/// Tells whether it is new.
pub(crate) fn certificate_for(
    authority: &Authority,
    listen: &Listen,
    current: Option<CertificateRow>,
    now: Timestamp,
) -> Result<(CertificateRow, Freshness), CertificateError> {
    let subjects = subjects(listen);
    if let Some(row) = current
        && row.subjects == subjects
        && row.renew_at > now
    {
        return Ok((row, Freshness::Kept));
    }
    let (material, until) = authority.issue(&subjects, now)?;
    let row = CertificateRow {
        certificate: material.certificate,
        key: material.key.expose().to_owned(),
        subjects,
        renew_at: renewed_from(until),
    };
    Ok((row, Freshness::New))
}

/// What a server is given.
pub(crate) fn material(authority: &Authority, row: &CertificateRow) -> TlsMaterial {
    TlsMaterial {
        certificate: row.certificate.clone(),
        key: Secret::new(row.key.clone()),
        authority: authority.certificate.clone(),
    }
}

/// All names and the address, whether or not the names resolve on this machine.
fn subjects(listen: &Listen) -> Vec<String> {
    let mut subjects = listen.names.clone();
    subjects.push(listen.address.to_string());
    subjects.push("localhost".to_owned());
    subjects
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_certificate_is_kept_until_names_change_or_a_month_is_left() {
        let listen = Listen {
            address: "127.64.1.2".parse().unwrap(),
            port: 5432,
            names: vec!["a.internal".to_owned()],
        };
        let now = Timestamp::now();
        let authority = Authority::create(Uuid::from_u128(1), now).unwrap();
        let issue = |listen: &Listen, current, days: i64| {
            let at = now + SignedDuration::from_hours(24 * days);
            certificate_for(&authority, listen, current, at).unwrap()
        };
        let (row, fresh) = issue(&listen, None, 0);
        assert_eq!(fresh, Freshness::New);
        assert_eq!(issue(&listen, Some(row.clone()), 334).1, Freshness::Kept);
        assert_eq!(issue(&listen, Some(row.clone()), 336).1, Freshness::New);
        let mut renamed = listen.clone();
        renamed.names.push("b.internal".to_owned());
        let (row, fresh) = issue(&renamed, Some(row), 0);
        assert_eq!(fresh, Freshness::New);
        assert_eq!(
            row.subjects,
            ["a.internal", "b.internal", "127.64.1.2", "localhost"]
        );
    }
}
