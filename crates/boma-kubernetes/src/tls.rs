//! The installation's certificate authority and the certificates of its servers.

use boma_instance::{Secret, TlsMaterial};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use uuid::Uuid;

use crate::error::KubernetesError;
use crate::records::Installation;

/// The authority: nobody renews it by hand.
const AUTHORITY_DAYS: i64 = 3650;
/// A server's certificate: clients limit what they accept to about a year.
const SERVER_DAYS: i64 = 365;
/// It is renewed when fewer days are left.
pub(crate) const RENEW_DAYS: i64 = 30;
/// Clocks of two machines differ, and one that was just set goes back a little.
const BACKDATED_DAYS: i64 = 1;

/// Makes an installation with an authority of its own.
pub(crate) fn installation(id: Uuid, now: Timestamp) -> Result<Installation, KubernetesError> {
    let key =
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KubernetesError::Certificate)?;
    let mut params = authority_params(id);
    set_validity(&mut params, now, AUTHORITY_DAYS);
    let certificate = params
        .self_signed(&key)
        .map_err(KubernetesError::Certificate)?;
    Ok(Installation {
        id,
        source: None,
        authority: certificate.pem(),
        authority_key: Secret::new(key.serialize_pem()),
    })
}

/// Makes a server's certificate for these names, and says until when it is good.
pub(crate) fn issue(
    installation: &Installation,
    names: &[String],
    now: Timestamp,
) -> Result<(TlsMaterial, Timestamp), KubernetesError> {
    let failed = KubernetesError::Certificate;
    let authority = KeyPair::from_pem(installation.authority_key.expose()).map_err(failed)?;
    let issuer = Issuer::new(authority_params(installation.id), authority);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    // A common name holds 64 characters, names of Services may be longer; nobody reads it.
    params
        .distinguished_name
        .push(DnType::CommonName, "boma instance");
    let subjects = names
        .iter()
        .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
    params.subject_alt_names = subjects.collect::<Result<_, _>>().map_err(failed)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, SERVER_DAYS);
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    let until = now.saturating_add(days(SERVER_DAYS)).unwrap_or(now);
    let material = TlsMaterial {
        certificate: certificate.pem(),
        key: Secret::new(key.serialize_pem()),
        authority: installation.authority.clone(),
    };
    Ok((material, until))
}

/// A duration of whole days.
pub(crate) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
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
fn set_validity(params: &mut CertificateParams, now: Timestamp, length: i64) {
    let midnight = |after: i64| {
        let at = now.saturating_add(days(after)).unwrap_or(now);
        let date = at.to_zoned(TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = midnight(-BACKDATED_DAYS);
    params.not_after = midnight(length);
}
