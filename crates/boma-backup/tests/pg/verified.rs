//! What a real server's backups consist of is what `verify` puts together.

use boma_backup::meter::Meter;
use boma_backup::verify::verify;
use boma_testkit::{ScratchDir, become_unprivileged};

use crate::server::{Server, installation, repository, stop};

#[tokio::test]
async fn sums_and_hashes_of_real_backups_fit_what_is_stored() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let client = server.connect().await?;
    client
        .batch_execute(
            "CREATE TABLE line AS SELECT id, md5(id::text) FROM generate_series(1, 60000) AS id",
        )
        .await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let full = server.back_up(&repository, None).await?;
    client
        .batch_execute("UPDATE line SET md5 = 'changed' WHERE id % 20000 = 0; CHECKPOINT")
        .await?;
    let increment = server.back_up(&repository, Some(&full)).await?;
    stop(running).await?;

    let meter = Meter::new();
    let report = verify(&repository, &server.prefix()?, &meter).await?;
    assert_eq!(Some(meter.done()), meter.total());
    // This server archives elsewhere, and nobody claimed the place.
    let damaged: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| !finding.object.ends_with("/owner"))
        .collect();
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(report.unusable.len(), 2, "{report:?}");
    for label in [full.label, increment.label] {
        let why = report.unusable[&label].join(", ");
        assert!(
            why.ends_with("of the write-ahead log is missing or damaged"),
            "{why}"
        );
    }
    Ok(())
}
