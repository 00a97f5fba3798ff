//! Whatever is changed in a repository shows before it becomes somebody's database.

use boma_backup::meter::Meter;
use boma_backup::restore::restore_files;
use boma_problem::IntoProblem as _;
use boma_testkit::{ScratchDir, become_unprivileged};

use crate::server::{Server, installation, repository, stop};

/// Bytes that are flipped: of the header and the first frame's, of the end, and some between. Every
/// bit of a whole object is flipped where that is quick, beside the code that opens frames.
fn places(length: usize) -> Vec<usize> {
    const STEP: usize = 700_001;
    (0..length)
        .filter(|place| {
            let edge = *place < 64 || *place + 36 >= length;
            (edge && place % 4 == 1) || place % STEP == STEP - 1
        })
        .collect()
}

#[tokio::test]
async fn a_flipped_byte_of_any_object_shows_at_restore() -> anyhow::Result<()> {
    become_unprivileged()?;
    let server = Server::new(&installation()?)?;
    let running = server.start().await?;
    let place = ScratchDir::new()?;
    let repository = repository(place.path()).await?;
    let manifest = server.back_up(&repository, None).await?;
    stop(running).await?;
    let prefix = server.prefix()?;
    let objects = repository
        .list(&prefix.backup_folder(&manifest.label))
        .await?;
    assert!(objects.len() >= 3, "{objects:?}");
    let mut flips = 0;
    for object in objects {
        let path = place.path().join(&object.name);
        let whole = std::fs::read(&path)?;
        for at in places(whole.len()) {
            flips += 1;
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, changed)?;
            if object.name.ends_with("/manifest") {
                let read = repository.get(&prefix.manifest(&manifest.label)).await;
                assert_eq!(read.unwrap_err().problem().code, "repository-damaged");
                continue;
            }
            let target = Server::empty(&server.installation)?;
            let restored = restore_files(
                &repository,
                prefix,
                &manifest,
                &target.layout(),
                &Meter::new(),
            )
            .await;
            let said = match restored {
                Ok(restored) => restored.warnings.first().map(|one| one.code.clone()),
                Err(error) => {
                    assert!(!target.data().join("global/pg_control").exists());
                    Some(error.problem().code)
                }
            };
            assert_eq!(
                said.as_deref(),
                Some("repository-damaged"),
                "byte {at} of {}",
                object.name
            );
        }
        std::fs::write(&path, whole)?;
    }
    assert!(flips > 60, "{flips}");
    Ok(())
}
