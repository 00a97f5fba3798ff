//! A source of manifests, the simulated platform below it, and the engine in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boma_instance::{InstanceId, Secret};
use boma_manifest::{Parsed, SourceFile, parse_file};
use boma_problem::Problem;
use jiff::SignedDuration;
use uuid::Uuid;

use crate::act::{CredentialError, Credentials, Surroundings};
use crate::catalog::{Basis, Catalog};
use crate::converge::{Converge, Convergence};
use crate::observed::Observed;
use crate::plan::{Asked, Plan, WaitingOn, check, plan_on};
use crate::platform::Credential;
use crate::review::{Review, Verdict, compare};
use crate::source::Roots;
use crate::testing::{ForeseenCredentials, SimulatedPlatform, machine};

/// Everything that a test of the engine needs.
pub(super) struct World {
    pub(super) files: BTreeMap<String, String>,
    /// The files as they were when they were last applied.
    pub(super) applied: BTreeMap<String, String>,
    pub(super) platform: Arc<SimulatedPlatform>,
    pub(super) source: String,
    pub(super) credentials: Arc<dyn Credentials>,
    /// Kinds of steps and of waiting that plans have had.
    pub(super) kinds: BTreeSet<&'static str>,
    next_id: u128,
}

/// Passwords that are never the same twice, so that a lost one is noticed.
#[derive(Default)]
pub(super) struct UniqueCredentials(AtomicU64);

impl Credentials for UniqueCredentials {
    fn make(&self, role: &str, serial: u64) -> Result<Credential, CredentialError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Credential {
            role: role.to_owned(),
            password: Secret::new(format!("password-{number}")),
            verifier: Secret::new(format!("verifier-{number}")),
            serial,
        })
    }
}

/// Ids that a test can foresee.
fn foreseen(next: &mut u128) -> InstanceId {
    *next += 1;
    InstanceId(Uuid::from_u128(*next))
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            applied: BTreeMap::new(),
            platform: Arc::new(SimulatedPlatform::new(machine())),
            source: "/srv/manifests".to_owned(),
            credentials: Arc::new(ForeseenCredentials),
            kinds: BTreeSet::new(),
            next_id: 0,
        }
    }

    /// Writes a manifest.
    pub(super) fn write(&mut self, name: &str, text: impl Into<String>) {
        self.files.insert(name.to_owned(), text.into());
    }

    /// The manifests of the source, as a catalog.
    pub(super) fn catalog(&self) -> (Catalog, Vec<Problem>) {
        self.catalog_of(&self.files)
    }

    fn catalog_of(&self, files: &BTreeMap<String, String>) -> (Catalog, Vec<Problem>) {
        let files = files.iter().map(|(name, text)| {
            Arc::new(parse_file(&SourceFile::new(name.as_str(), text.as_bytes())))
        });
        let files: Vec<Arc<Parsed>> = files.collect();
        let of_files = files.iter().flat_map(|file| &file.problems);
        let mut problems: Vec<Problem> = of_files.cloned().collect();
        let basis = Basis {
            roots: Roots::one(&self.source),
            ..Basis::default()
        };
        let (catalog, more) = Catalog::build(&files, &Arc::new(basis));
        problems.extend(more);
        (catalog, problems)
    }

    /// What the manifests would do to a platform on which everything is as those say that were
    /// applied last; this one is not looked at.
    pub(super) fn review(&self) -> Review {
        let (head, problems) = self.catalog();
        let (base, _) = self.catalog_of(&self.applied);
        let verdict = if problems.iter().any(Problem::is_error) {
            Verdict::Invalid
        } else {
            compare(&base, &head, machine(), self.platform.now()).into()
        };
        Review {
            base: None,
            head: None,
            standing: None,
            problems,
            verdict,
        }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            source: Some(self.source.as_str().into()),
            ..Asked::default()
        }
    }

    /// A plan that keeps to the invariants.
    pub(super) fn plan(&mut self, asked: &Asked) -> Plan {
        let (catalog, _) = self.catalog();
        let seen = self.platform.state().observed();
        let planned = |seen: &Observed| {
            let on = |threads| {
                let mut next = self.next_id;
                let mut ids = || foreseen(&mut next);
                let now = self.platform.now();
                plan_on(threads, (&catalog, seen), asked, now, &mut ids)
            };
            let plan = on(1);
            assert_eq!(format!("{plan:?}"), format!("{:?}", on(3)), "{plan}");
            plan
        };
        let mut seen = seen;
        let mut made = planned(&seen);
        if !made.unjudged.is_empty() {
            self.platform.state().judge(&made.unjudged);
            seen = self.platform.state().observed();
            made = planned(&seen);
        }
        assert_eq!(check(&made, &seen, &catalog), [], "{made}");
        self.kinds
            .extend(made.steps.iter().map(|step| step.action.kind()));
        self.kinds.extend(made.waiting.iter().map(WaitingOn::kind));
        made
    }

    /// Converges; every plan on the way keeps to the invariants.
    pub(super) async fn apply(&mut self, asked: Asked) -> Result<Convergence, Box<Problem>> {
        let (catalog, _) = self.catalog();
        self.applied.clone_from(&self.files);
        let platform = self.platform.clone();
        let clock = platform.clone();
        let around = Surroundings {
            patience: Duration::from_secs(10),
            clock: Arc::new(move || {
                clock.advance(SignedDuration::from_millis(100));
                clock.now()
            }),
            credentials: self.credentials.clone(),
            ..Surroundings::new("tester")
        };
        let next = &mut self.next_id;
        let converge = Converge {
            catalog: &catalog,
            platform: &platform,
            around: &around,
            ids: &mut || foreseen(next),
            patience: Duration::from_secs(30),
            planned: &mut |made| {
                let seen = platform.state().observed();
                assert_eq!(check(made, &seen, &catalog), [], "{made}");
            },
        };
        converge.run(&asked).await
    }
}
