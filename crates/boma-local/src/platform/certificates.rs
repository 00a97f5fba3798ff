//! Another certificate for every server, and another authority that signs them.
//!
//! ```text
//!   new authority ─► `ca.pem` names both ─► servers get certificates of the new one ─► the former
//!   is no longer in `ca.pem`
//! ```
//!
//! Each arrow is a person's act: between the first two, programs that have read `ca.pem` at their
//! start are restarted. What clients trust is written before a server shows what needs it, and taken
//! away after none does. Killed anywhere, the next who opens the state writes `ca.pem` as it should be.

use boma_engine::authority::{Authority, CertificateError};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use super::error::boxed;
use super::{LocalPlatform, OpenError};
use crate::layout::Layout;
use crate::locks;
use crate::store::Store;
use crate::tls::Authorities;

/// Why the authority stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The exchange before has not come to its end.
    #[error("another authority than the one that signs is trusted already")]
    UnderWay,
    /// There is none.
    #[error("no former authority is trusted")]
    NoFormer,
    /// A server may still show a certificate of the former one.
    #[error("{} may still have a certificate of the former authority", list(.0))]
    InUse(Vec<DatabaseKey>),
    /// It could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

fn list(keys: &[DatabaseKey]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| &*key.name).collect();
    names.join(", ")
}

impl IntoProblem for AuthorityError {
    fn problem(&self) -> Problem {
        match self {
            Self::UnderWay => Problem::from_error(Class::User, "authority-under-way", self).hint(
                "Go on with it: `boma rotate --tls` lets the new one sign, \
                 `boma rotate --authority forget` ends trust in the former one.",
            ),
            Self::NoFormer => Problem::from_error(Class::User, "no-former-authority", self).hint(
                "`boma rotate --authority new` makes another one, `boma rotate --tls` lets it sign; \
                 then the former one can be forgotten.",
            ),
            Self::InUse(_) => Problem::from_error(Class::Transient, "authority-in-use", self)
                .hint("Let `boma serve` run, or `boma apply`, until they have other ones."),
            Self::Certificate(error) => error.problem(),
        }
    }
}

/// What became of a wish for other certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// How many certificates are to be exchanged.
    pub certificates: usize,
    /// Whether another authority signs from now on.
    pub other_authority: bool,
}

impl LocalPlatform {
    /// Wants another key and certificate for every server, of the new authority if there is one.
    /// The next passes carry it out.
    pub async fn renew_certificates(&self, actor: &str) -> Result<Renewal, PlatformError> {
        let installation = self.inner.store.installation;
        let now = Timestamp::now();
        let wanted = self.inner.store.write(move |state| {
            let other_authority = match Authorities::stored(&state, installation)? {
                Some(mut authorities) if authorities.next.is_some() => {
                    authorities.switch();
                    state.set_authorities(&authorities.to_stored())?;
                    true
                }
                Some(_) | None => false,
            };
            let certificates = state.renew_certificates(now)?;
            state.note_wish()?;
            Ok(Renewal {
                certificates,
                other_authority,
            })
        });
        let renewal = wanted.await.map_err(boxed)?;
        self.write_trusted().await?;
        self.inner.waker.wake();
        let action = "another certificate for every server".to_owned();
        self.say_exchanged(actor, action, "CertificatesRenewed")
            .await?;
        Ok(renewal)
    }

    /// Makes another authority, which is trusted from now on and signs nothing yet.
    pub async fn new_authority(&self, actor: &str) -> Result<(), PlatformError> {
        let installation = self.inner.store.installation;
        let next = Authority::create(installation, Timestamp::now()).map_err(boxed)?;
        let made = self.inner.store.write(move |state| {
            let Some(mut authorities) = Authorities::stored(&state, installation)? else {
                return Ok(false);
            };
            if authorities.next.is_some() || authorities.former.is_some() {
                return Ok(false);
            }
            authorities.next = Some(next);
            state.set_authorities(&authorities.to_stored())?;
            Ok(true)
        });
        if !made.await.map_err(boxed)? {
            return Err(boxed(AuthorityError::UnderWay));
        }
        self.write_trusted().await?;
        let action = "another certificate authority, trusted beside the one that signs".to_owned();
        self.say_exchanged(actor, action, "AuthorityMade").await
    }

    /// Ends trust in the authority that signed before.
    pub async fn forget_authority(&self, actor: &str) -> Result<(), PlatformError> {
        let installation = self.inner.store.installation;
        let now = Timestamp::now();
        let forgotten = self.inner.store.write(move |state| {
            let Some(mut authorities) = Authorities::stored(&state, installation)? else {
                return Ok(Err(AuthorityError::NoFormer));
            };
            if authorities.former.is_none() {
                return Ok(Err(AuthorityError::NoFormer));
            }
            let due = due(&state, now)?;
            if !due.is_empty() {
                return Ok(Err(AuthorityError::InUse(due)));
            }
            authorities.former = None;
            state.set_authorities(&authorities.to_stored())?;
            Ok(Ok(()))
        });
        forgotten.await.map_err(boxed)?.map_err(boxed)?;
        self.write_trusted().await?;
        let action = "the former certificate authority is no longer trusted".to_owned();
        self.say_exchanged(actor, action, "AuthorityForgotten")
            .await
    }

    /// Databases that are still to be given another certificate.
    pub async fn certificates_due(&self) -> Result<Vec<DatabaseKey>, PlatformError> {
        let now = Timestamp::now();
        let due = self.inner.store.read(move |state| due(&state, now));
        due.await.map_err(boxed)
    }

    /// Writes what clients may trust.
    async fn write_trusted(&self) -> Result<(), PlatformError> {
        trusted(&self.inner.layout, &self.inner.store)
            .await
            .map_err(boxed)
    }

    async fn say_exchanged(
        &self,
        actor: &str,
        action: String,
        reason: &str,
    ) -> Result<(), PlatformError> {
        let at = self.audit_installation(actor, action.clone()).await?;
        self.tell_installation(at, reason, action).await
    }
}

/// Active databases whose certificate is to be exchanged.
fn due(
    state: &crate::store::Access<'_>,
    now: Timestamp,
) -> Result<Vec<DatabaseKey>, crate::store::StoreError> {
    let renewals = state.renewals()?;
    let rows = state.databases()?;
    let due = rows.into_iter().filter(|row| {
        row.life == Life::Active && renewals.get(&row.id).is_some_and(|at| *at <= now)
    });
    Ok(due.map(|row| row.key).collect())
}

/// Makes the authority the first time, and writes `ca.pem` as it should be.
pub(super) async fn authority(layout: &Layout, store: &Store) -> Result<(), OpenError> {
    let is_made = store
        .read(|state| Ok(state.authorities()?.is_some()))
        .await?;
    if !is_made {
        let issuing = Authority::create(store.installation, Timestamp::now())?;
        let first = Authorities {
            issuing,
            next: None,
            former: None,
        };
        let write = store.write(move |state| state.set_authorities(&first.to_stored()));
        write.await?;
    }
    trusted(layout, store).await
}

/// Writes the certificates of the authorities that clients may trust, unless they stand there.
/// One process at a time: what is read last is what is written last.
async fn trusted(layout: &Layout, store: &Store) -> Result<(), OpenError> {
    let _one = locks::hold(&layout.lock("ca"))?;
    let installation = store.installation;
    let stored = store.read(move |state| Authorities::stored(&state, installation));
    let Some(authorities) = stored.await? else {
        return Ok(());
    };
    let (path, wanted) = (layout.authority(), authorities.trusted());
    if std::fs::read_to_string(&path).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    crate::files::replace(&path, &wanted, 0o644)
        .map_err(|source| OpenError::Certificate { path, source })
}
