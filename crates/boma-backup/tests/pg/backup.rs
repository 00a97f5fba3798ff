//! Base backups, full and incremental, and their restore.

use std::process::Command;

use boma_backup::copy::{BackupError, back_up};
use boma_backup::format::manifest::Manifest;
use boma_backup::meter::Meter;
use boma_backup::restore::{RestoreError, restore_files};
use boma_instance::backup::BackupKind;
use boma_problem::IntoProblem as _;
use boma_testkit::{ScratchDir, become_unprivileged};

use crate::server::{Broken, LONG, Server, installation, installations, repository, stop};

/// About 30 MB: a table larger than a slice, one without a log, one in a tablespace.
const FILL: &str = "
    CREATE TABLE item AS
        SELECT n AS id, md5(n::text) || md5((n + 1)::text) AS text FROM generate_series(1, 300000) n;
    ALTER TABLE item ADD PRIMARY KEY (id);
    CREATE UNLOGGED TABLE scratch AS SELECT 1 AS n;
    CREATE TABLE empty (n int);";

async fn fill(server: &Server) -> anyhow::Result<tokio_postgres::Client> {
    let client = server.connect().await?;
    client.batch_execute(FILL).await?;
    // Else the first look at each row would change its page.
    client.batch_execute("VACUUM (FREEZE) item").await?;
    Ok(client)
}

/// What a restored server answers of the table, for comparing.
async fn sum(client: &tokio_postgres::Client) -> anyhow::Result<(i64, String)> {
    let row = client
        .query_one(
            "SELECT count(*), md5(string_agg(id || text, '' ORDER BY id)) FROM item",
            &[],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Checks every index by `amcheck`, as a drill does.
async fn check_indexes(client: &tokio_postgres::Client) -> anyhow::Result<()> {
    client
        .batch_execute(
            "CREATE EXTENSION amcheck;
             SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p'",
        )
        .await?;
    Ok(())
}

fn stored(repository: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![repository.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

#[tokio::test]
async fn each_version_is_backed_up_and_restored_in_full_and_incrementally() -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let server = Server::new(&installation)?;
        let running = server.start().await?;
        let client = fill(&server).await?;
        let place = ScratchDir::new()?;
        let repository = repository(place.path()).await?;

        let meter = Meter::new();
        let full = server
            .try_back_up(&repository, &server.job(None)?, &meter)
            .await?;
        assert_eq!(full.kind(), BackupKind::Full);
        assert!(full.needs().is_empty());
        assert_eq!(Some(meter.done()), meter.total());
        assert!(full.damaged.is_empty(), "{:?}", full.damaged);
        let bytes_full = stored(place.path())?;
        assert!(
            !full
                .files
                .iter()
                .any(|file| file.path.starts_with("pg_wal/"))
        );

        client
            .batch_execute("UPDATE item SET text = 'changed' WHERE id % 30000 = 0; CHECKPOINT")
            .await?;
        let incremental = server.back_up(&repository, Some(&full)).await?;
        assert_eq!(incremental.kind(), BackupKind::Incremental);
        assert_eq!(incremental.needs().len(), 1);
        let bytes_more = stored(place.path())? - bytes_full;
        assert!(
            bytes_more * 5 < bytes_full,
            "{bytes_more} bytes of {bytes_full} for ten rows"
        );
        let expected = sum(&client).await?;

        for manifest in [&full, &incremental] {
            let restored = server.restore(&repository, manifest).await?;
            let running = restored.recover_from(&server).await?;
            let client = restored.connect().await?;
            // Replay goes to the end of the archive, whatever backup it begins with.
            assert_eq!(sum(&client).await?, expected, "{}", manifest.label);
            let unlogged = client
                .query_one("SELECT count(*) FROM scratch", &[])
                .await?;
            assert_eq!(unlogged.get::<_, i64>(0), 0);
            check_indexes(&client).await?;
            stop(running).await?;
        }
        stop(running).await?;
    }
    Ok(())
}

#[tokio::test]
async fn pg_verifybackup_accepts_what_was_restored() -> anyhow::Result<()> {
    become_unprivileged()?;
    let installation = installation()?;
    let server = Server::new(&installation)?;
    let running = server.start().await?;
    let client = fill(&server).await?;
    let outside = server.path().join("outside");
    std::fs::create_dir(&outside)?;
    client
        .batch_execute(&format!(
            "CREATE TABLESPACE elsewhere LOCATION '{}'",
            outside.display()
        ))
        .await?;
    client
        .batch_execute("CREATE TABLE far TABLESPACE elsewhere AS SELECT 42 AS n")
        .await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let full = server.back_up(&repository, None).await?;
    client
        .batch_execute("INSERT INTO item VALUES (0, 'more'); CHECKPOINT")
        .await?;
    let incremental = server.back_up(&repository, Some(&full)).await?;
    for manifest in [&full, &incremental] {
        let restored = server.restore(&repository, manifest).await?;
        let verified = Command::new(installation.bin.join("pg_verifybackup"))
            .args(["--no-parse-wal", "--exit-on-error"])
            .arg(restored.data())
            .output()?;
        assert!(verified.status.success(), "{verified:?}");
        let running = restored.recover_from(&server).await?;
        let far = restored
            .connect()
            .await?
            .query_one("SELECT n FROM far", &[])
            .await?;
        assert_eq!(far.get::<_, i32>(0), 42);
        let link = std::fs::read_link(
            restored
                .data()
                .join(format!("pg_tblspc/{}", manifest.tablespaces[0].oid)),
        )?;
        assert!(link.starts_with(restored.path()), "{}", link.display());
        stop(running).await?;
    }
    stop(running).await
}

#[tokio::test]
async fn a_damaged_page_is_found_and_the_backup_is_still_taken() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let client = fill(&server).await?;
    client.batch_execute("CHECKPOINT").await?;
    let path: String = client
        .query_one("SELECT pg_relation_filepath('item')", &[])
        .await?
        .get(0);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(server.data().join(&path))?;
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 3 * 8192 + 5000)?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let manifest = server.back_up(&repository, None).await?;
    let damaged: Vec<_> = manifest
        .damaged
        .iter()
        .map(|page| (page.path.as_str(), page.page))
        .collect();
    assert_eq!(damaged, [(path.as_str(), 3)]);
    assert_eq!(manifest.summary().damaged_pages, 1);
    stop(running).await
}

#[tokio::test]
async fn a_backup_under_load_restores_every_committed_row() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let client = fill(&server).await?;
    let writer = server.connect().await?;
    let (stop_writing, mut told) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut written = 0_i64;
        while told.try_recv().is_err() {
            writer
                .batch_execute(
                    "INSERT INTO item SELECT max(id) + 1, 'new' FROM item;
                     UPDATE item SET text = text || 'x' WHERE id % 997 = 0;
                     CREATE TABLE gone AS SELECT * FROM item LIMIT 1000; DROP TABLE gone",
                )
                .await?;
            written += 1;
        }
        anyhow::Ok(written)
    });
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let full = server.back_up(&repository, None).await?;
    let incremental = server.back_up(&repository, Some(&full)).await?;
    stop_writing.send(()).ok();
    let written = writing.await??;
    assert!(written > 0);
    client.batch_execute("SELECT pg_switch_wal()").await?;
    let expected = sum(&client).await?;
    stop(running).await?;
    for manifest in [&full, &incremental] {
        let restored = server.restore(&repository, manifest).await?;
        let running = restored.recover_from(&server).await?;
        let client = restored.connect().await?;
        assert_eq!(sum(&client).await?, expected);
        check_indexes(&client).await?;
        stop(running).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_stopped_leaves_none_and_the_next_one_works() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    fill(&server).await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let meter = Meter::new();
    meter.cancel();
    let error = server
        .try_back_up(&repository, &server.job(None)?, &meter)
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::Cancelled), "{error}");
    assert_eq!(error.problem().code, "backup-given-up");
    let prefix = server.prefix()?;
    let listed = repository.list(&prefix.backups_folder()).await?;
    assert!(
        !listed
            .iter()
            .any(|object| object.name.ends_with("/manifest"))
    );

    let mut job = server.job(None)?;
    job.now += jiff::SignedDuration::from_secs(1);
    let manifest = server.try_back_up(&repository, &job, &Meter::new()).await?;
    let read = repository.get(&prefix.manifest(&manifest.label)).await?;
    assert_eq!(Manifest::decode(&read.unwrap())?, manifest);
    // The same name again is refused: what it names is never overwritten.
    let error = server
        .try_back_up(&repository, &job, &Meter::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    stop(running).await
}

#[tokio::test]
async fn nothing_is_copied_before_archiving_is_seen_to_work() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let before = stored(place.path())?;
    // The second begins where a segment has just begun, unless something is written first.
    for _ in 0..2 {
        let job = server.job(None)?;
        let error = back_up(&repository, &job, &Broken, &Meter::new())
            .await
            .unwrap_err();
        assert_eq!(error.problem().code, "backup-not-archived");
        let said = error.to_string();
        let lost = said
            .split_once("is not archived: ")
            .and_then(|(_, rest)| rest.strip_suffix(" is lost"));
        let lost = lost.ok_or_else(|| anyhow::anyhow!("{said}"))?;
        // It is one that the server has completed and hands over. What the server itself knows of it
        // (`archive_status`) is no witness: a checkpoint forgets a segment as soon as it is archived.
        boma_testkit::eventually(LONG, async || {
            let there = server.archive().join(lost).exists();
            there.then_some(()).ok_or(format!("{lost} is not archived"))
        })
        .await?;
        assert_eq!(stored(place.path())?, before);
        server
            .connect()
            .await?
            .batch_execute("SELECT pg_switch_wal()")
            .await?;
    }
    server.back_up(&repository, None).await?;
    stop(running).await
}

#[tokio::test]
async fn nothing_is_restored_over_files_that_are_there() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let manifest = server.back_up(&repository, None).await?;
    stop(running).await?;
    let target = Server::empty(&server.installation)?;
    std::fs::create_dir(target.data())?;
    std::fs::write(target.data().join("somebody's"), "data")?;
    let error = restore_files(
        &repository,
        server.prefix()?,
        &manifest,
        &target.layout(),
        &Meter::new(),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    assert_eq!(error.problem().code, "restore-not-empty");
    assert!(error.to_string().contains("is not empty"));
    assert!(target.data().join("somebody's").exists());
    Ok(())
}
