//! The work of a plan grows as its resources do: counted, not timed.

use std::sync::Arc;
use std::time::Duration;

use boma_instance::InstanceId;
use boma_manifest::{Parsed, SourceFile, parse_file};
use jiff::Timestamp;
use uuid::Uuid;

use crate::act::Surroundings;
use crate::catalog::{Basis, Catalog};
use crate::converge::Converge;
use crate::keys::looked_at;
use crate::observed::{Feature, Observed};
use crate::plan::{Asked, Plan, plan};
use crate::testing::{ForeseenCredentials, SimulatedPlatform, machine};

/// How often keys were looked at.
#[derive(Debug, PartialEq)]
struct Work {
    build: u64,
    from_nothing: u64,
    nothing_to_do: u64,
    rebuild: u64,
}

fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = looked_at::times();
    let result = work();
    (result, looked_at::times() - before)
}

fn planned(catalog: &Catalog, seen: &Observed) -> Plan {
    plan(
        catalog,
        seen,
        &Asked::default(),
        Timestamp::UNIX_EPOCH,
        &mut ids(),
    )
}

fn ids() -> impl FnMut() -> InstanceId {
    let mut next = 0;
    move || {
        next += 1;
        InstanceId(Uuid::from_u128(next))
    }
}

fn parsed(file: &(String, String)) -> Arc<Parsed> {
    Arc::new(parse_file(&SourceFile::new(
        file.0.as_str(),
        file.1.as_bytes(),
    )))
}

/// The work for a source with so many databases, and twice as many applications.
async fn work(databases: usize) -> Work {
    let repository = boma_manifest::testing::repository(databases);
    let mut files: Vec<Arc<Parsed>> = repository.iter().map(parsed).collect();
    let basis = Arc::new(Basis::default());
    let ((catalog, _), build) = counted(|| Catalog::build(&files, &basis));
    let mut capable = machine();
    capable.features.extend([Feature::Images, Feature::Backups]);
    let platform = Arc::new(SimulatedPlatform::new(capable));
    let empty = platform.state().observed();
    let (_, from_nothing) = counted(|| planned(&catalog, &empty));
    let around = Surroundings {
        credentials: Arc::new(ForeseenCredentials),
        ..Surroundings::new("tester")
    };
    let converge = Converge {
        catalog: &catalog,
        platform: &platform,
        around: &around,
        ids: &mut ids(),
        patience: Duration::ZERO,
        planned: &mut |_| {},
    };
    let settled = converge.run(&Asked::default()).await.unwrap();
    let (steady, nothing_to_do) = counted(|| planned(&catalog, &settled.seen));
    assert!(steady.is_empty(), "{steady}");
    files[0] = parsed(&repository[0]);
    let (_, rebuild) = counted(|| catalog.rebuild(&files, &basis));
    Work {
        build,
        from_nothing,
        nothing_to_do,
        rebuild,
    }
}

#[tokio::test(start_paused = true)]
async fn ten_times_the_resources_are_ten_times_the_work() {
    let few = work(60).await;
    let many = work(600).await;
    // Sorting takes a little more each; a search through everything would take a hundredfold.
    let grew = |few: u64, many: u64| many <= few * 10 * 3;
    assert!(grew(few.build, many.build), "{few:?} {many:?}");
    assert!(
        grew(few.from_nothing, many.from_nothing),
        "{few:?} {many:?}"
    );
    assert!(
        grew(few.nothing_to_do, many.nothing_to_do),
        "{few:?} {many:?}"
    );
    assert!(grew(few.rebuild, many.rebuild), "{few:?} {many:?}");
    // One look at each database, application and grant, and at what was observed of it.
    assert!(many.nothing_to_do < 600 * 3 * 6, "{many:?}");
}
