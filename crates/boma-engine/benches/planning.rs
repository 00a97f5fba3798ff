//! How long it takes from the files of a large source to a plan, and after one changed file.
//! `cargo bench -p boma-engine --bench planning`

use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boma_engine::act::Surroundings;
use boma_engine::catalog::{Basis, Catalog};
use boma_engine::converge::Converge;
use boma_engine::observed::{Feature, Observed};
use boma_engine::plan::{Asked, Plan, plan};
use boma_engine::testing::{ForeseenCredentials, SimulatedPlatform, machine};
use boma_instance::InstanceId;
use boma_manifest::{Parsed, SourceFile, parse_all, parse_file};
use jiff::Timestamp;
use uuid::Uuid;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = String::from(
        "| databases | files | parse and check | plan, nothing there | all | plan, nothing to do | \
         after one file: check | plan |\n|---|---|---|---|---|---|---|---|\n",
    );
    for databases in [333, 1_000, 3_333, 10_000, 33_333] {
        table.push_str(&runtime.block_on(measure(databases))?);
    }
    let mut out = std::io::stdout().lock();
    std::io::Write::write_all(&mut out, table.as_bytes())?;
    Ok(())
}

async fn measure(databases: usize) -> anyhow::Result<String> {
    let repository = boma_manifest::testing::repository(databases);
    let files: Vec<Arc<SourceFile>> = repository
        .iter()
        .map(|(name, text)| SourceFile::new(name.as_str(), text.as_bytes()))
        .collect();
    let basis = Arc::new(Basis::default());
    let platform = Arc::new(SimulatedPlatform::new(capable()));
    let empty = platform.state().observed();

    let begun = Instant::now();
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let mut parsed: Vec<Arc<Parsed>> = parse_all(&files, threads)
        .into_iter()
        .map(Arc::new)
        .collect();
    let (catalog, problems) = build(&Catalog::default(), &parsed, &basis);
    let checked = begun.elapsed();
    anyhow::ensure!(problems == 0, "{problems} problems");
    let (first, from_nothing) = timed(|| planned(&catalog, &empty));
    let all = checked + from_nothing;
    anyhow::ensure!(first.blocked.is_empty(), "{}", first.blocked[0].problem);

    let settled = settle(&catalog, &platform).await?;
    let (steady, again) = timed(|| planned(&catalog, &settled));
    anyhow::ensure!(steady.is_empty(), "there is something left to do");

    let (name, text) = &repository[databases];
    let changed = text.replace("work_mem: 16MB", "work_mem: 32MB");
    let ((changed, _), one_file) = timed(|| {
        parsed[databases] = Arc::new(parse_file(&SourceFile::new(
            name.as_str(),
            changed.as_bytes(),
        )));
        build(&catalog, &parsed, &basis)
    });
    let (change, one_plan) = timed(|| planned(&changed, &settled));
    anyhow::ensure!(change.steps.len() <= 2, "{} steps", change.steps.len());
    Ok(format!(
        "| {databases} | {} | {} | {} | {} | {} | {} | {} |\n",
        files.len(),
        ms(checked),
        ms(from_nothing),
        ms(all),
        ms(again),
        ms(one_file),
        ms(one_plan),
    ))
}

fn capable() -> boma_engine::observed::Capabilities {
    let mut capable = machine();
    capable.features.extend([Feature::Images, Feature::Backups]);
    capable
}

fn build(last: &Catalog, files: &[Arc<Parsed>], basis: &Arc<Basis>) -> (Catalog, usize) {
    let (catalog, problems) = last.rebuild(files, basis);
    let of_files: usize = files.iter().map(|file| file.problems.len()).sum();
    (catalog, problems.len() + of_files)
}

fn ids() -> impl FnMut() -> InstanceId {
    let mut next = 0;
    move || {
        next += 1;
        InstanceId(Uuid::from_u128(next))
    }
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

/// What is observed when everything is as it should be.
async fn settle(catalog: &Catalog, platform: &Arc<SimulatedPlatform>) -> anyhow::Result<Observed> {
    let around = Surroundings {
        credentials: Arc::new(ForeseenCredentials),
        ..Surroundings::new("bench")
    };
    let converge = Converge {
        catalog,
        platform,
        around: &around,
        ids: &mut ids(),
        patience: Duration::ZERO,
        planned: &mut |_| {},
    };
    let result = converge
        .run(&Asked::default())
        .await
        .map_err(|problem| *problem)?;
    anyhow::ensure!(
        result.is_converged(),
        "not converged: {} failed",
        result.failed.len()
    );
    Ok(result.seen)
}

/// The result, and the median of several times.
fn timed<T>(mut work: impl FnMut() -> T) -> (T, Duration) {
    const TIMES: usize = 9;
    let mut times: Vec<Duration> = Vec::with_capacity(TIMES);
    let mut once = || {
        let begun = Instant::now();
        let result = work();
        times.push(begun.elapsed());
        result
    };
    for _ in 1..TIMES {
        drop(once());
    }
    let result = once();
    times.sort_unstable();
    (result, times[TIMES / 2])
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
