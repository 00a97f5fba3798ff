//! The life of a server in an agent's care.

use anyhow::Result;
use boma_instance::{Phase, Power};
use boma_testkit::postgres_builds;

use crate::agent::Place;

#[tokio::test]
async fn from_an_assignment_to_a_server_that_answers() -> Result<()> {
    for build in postgres_builds()? {
        let place = Place::new(&build)?;
        let _agent = place.start();
        place.assign().await?;
        let status = place.ready().await?;
        assert!(status.is_converged(1));
        assert_eq!(
            status
                .server
                .expect("it should run")
                .version
                .split('.')
                .next(),
            Some(&*build.major.to_string())
        );
        assert_eq!(place.sql("show data_checksums").await?, ["on"]);
        assert_eq!(
            place.sql("show password_encryption").await?,
            ["scram-sha-256"]
        );
        place.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_setting_is_reloaded_and_another_restarted() -> Result<()> {
    let mut place = Place::new(&postgres_builds()?[0])?;
    let _agent = place.start();
    place.assign().await?;
    let first = place.ready().await?.server.expect("it should run");
    place.assignment.spec.generation = 2;
    place
        .assignment
        .spec
        .parameters
        .insert("work_mem".into(), "7MB".into());
    place.assign().await?;
    let reloaded = place.ready().await?.server.expect("it should run");
    assert_eq!(place.sql("show work_mem").await?, ["7MB"]);
    assert_eq!(reloaded.pid, first.pid);
    place.assignment.spec.generation = 3;
    place
        .assignment
        .spec
        .parameters
        .insert("max_locks_per_transaction".into(), "99".into());
    place.assign().await?;
    let restarted = place.ready().await?.server.expect("it should run");
    assert_eq!(place.sql("show max_locks_per_transaction").await?, ["99"]);
    assert_ne!(restarted.pid, first.pid);
    place.end().await
}

#[tokio::test]
async fn another_placement_of_the_same_generation_is_not_done_when_it_is_accepted() -> Result<()> {
    let mut place = Place::new(&postgres_builds()?[0])?;
    let _agent = place.start();
    place.assign().await?;
    place.ready().await?;
    for name in ["one.internal", "other.internal"] {
        place.assignment.placement.listen.names = vec![name.to_owned()];
        place.assign().await?;
        // It may be done by now, and then it says where it listens.
        let status = place.status().await?;
        let is_there = status.listen.as_ref() == Some(&place.assignment.placement.listen);
        assert!(is_there || !status.is_converged(1), "{status:?}");
        place.look().await?;
        crate::agent::wait(async || {
            let status = place.status().await?;
            anyhow::ensure!(status.is_converged(1), "{status:?}");
            Ok(())
        })
        .await?;
    }
    place.end().await
}

#[tokio::test]
async fn a_setting_that_is_refused_leaves_the_server_serving() -> Result<()> {
    let mut place = Place::new(&postgres_builds()?[0])?;
    let _agent = place.start();
    place.assign().await?;
    place.ready().await?;
    place.assignment.spec.generation = 2;
    place
        .assignment
        .spec
        .parameters
        .insert("work_mem".into(), "a lot".into());
    place.assign().await?;
    let status = place.in_phase(Phase::Degraded).await?;
    assert_eq!(status.problems[0].code, "setting-refused", "{status:?}");
    assert_eq!(place.sql("select 1").await?, ["1"]);
    place.assignment.spec.generation = 3;
    place.assignment.spec.parameters.clear();
    place.assign().await?;
    place.ready().await?;
    place.end().await
}

#[tokio::test]
async fn suspended_and_resumed_with_its_data() -> Result<()> {
    let mut place = Place::new(&postgres_builds()?[0])?;
    let _agent = place.start();
    place.assign().await?;
    place.ready().await?;
    place.sql("create table t as select 42 as x").await?;
    place.assignment.spec.generation = 2;
    place.assignment.spec.power = Power::Off;
    place.assign().await?;
    place.in_phase(Phase::Suspended).await?;
    assert!(place.sql("select 1").await.is_err());
    place.assignment.spec.generation = 3;
    place.assignment.spec.power = Power::On;
    place.assign().await?;
    place.ready().await?;
    assert_eq!(place.sql("select x from t").await?, ["42"]);
    place.end().await
}

#[tokio::test]
async fn an_older_generation_is_refused() -> Result<()> {
    let mut place = Place::new(&postgres_builds()?[0])?;
    let _agent = place.start();
    place.assignment.spec.generation = 5;
    place.assign().await?;
    place.ready().await?;
    place.assignment.spec.generation = 4;
    let body = serde_json::to_vec(&place.assignment)?;
    let (code, text) = place
        .ask("PUT", boma_instance::api::ASSIGNMENT, &body)
        .await?;
    assert_eq!(code, 409);
    assert!(text.contains("assignment-outdated"), "{text}");
    place.end().await
}
