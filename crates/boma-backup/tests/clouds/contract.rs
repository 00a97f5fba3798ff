//! What every store must do, whoever runs it.

use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_backup::format::names::Prefix;
use boma_backup::owner::{Claim, ClaimError, WriterId};
use boma_backup::store::{Put, Repository};
use boma_instance::InstanceId;
use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use boma_instance::wal::{Timeline, WalFile};
use boma_problem::IntoProblem as _;
use object_store::PutPayload;
use uuid::Uuid;

const PREFIX: Prefix = Prefix {
    instance: InstanceId(Uuid::from_u128(7)),
    system_identifier: 42,
};

const SEGMENT: u32 = 16 << 20;

pub(crate) fn access(location: RepositoryLocation) -> RepositoryAccess {
    RepositoryAccess {
        location,
        key: RepositoryKey::new([7; KEY_BYTES]).export(),
        compression_level: 3,
    }
}

/// Whether a server lets one of two requests of the same instant win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Races {
    Settled,
    NotSettled,
}

/// Goes through all of it.
pub(crate) async fn hold(location: RepositoryLocation, races: Races) -> anyhow::Result<()> {
    let repository = Repository::open(&access(location.clone())).await?;
    let again = Repository::open(&access(location)).await?;
    assert_eq!(repository.id(), again.id());
    never_replaces(&repository, &again, races).await?;
    gives_parts_and_lists(&repository).await?;
    is_claimed_by_one(&repository, &again, races).await?;
    takes_many_parts(&repository).await?;
    repository.confirm().await?;
    Ok(())
}

async fn never_replaces(one: &Repository, other: &Repository, races: Races) -> anyhow::Result<()> {
    let name = PREFIX.wal(WalFile::History(Timeline(2)), SEGMENT);
    assert_eq!(one.get(&name).await?, None);
    let (first, second) = match races {
        Races::Settled => {
            tokio::join!(one.put_new(&name, b"one"), other.put_new(&name, b"two"))
        }
        Races::NotSettled => (
            one.put_new(&name, b"one").await,
            other.put_new(&name, b"two").await,
        ),
    };
    let stored = [first?, second?];
    assert!(
        stored.contains(&Put::Stored) && stored.contains(&Put::Exists),
        "{stored:?}"
    );
    let content = one.get(&name).await?;
    assert_eq!(one.put_new(&name, b"three").await?, Put::Exists);
    assert_eq!(one.get(&name).await?, content, "it was replaced");
    Ok(())
}

async fn gives_parts_and_lists(repository: &Repository) -> anyhow::Result<()> {
    let name = PREFIX.wal(WalFile::History(Timeline(3)), SEGMENT);
    repository.put_new(&name, &vec![5; 100_000]).await?;
    let bytes = repository.size(&name).await?;
    let whole = repository.get_sealed(&name).await?;
    assert_eq!(whole.as_ref().map(|whole| whole.len() as u64), bytes);
    let part = repository.get_range(&name, 8..40).await?;
    assert_eq!(whole.map(|whole| whole.slice(8..40)), Some(part));
    let listed = repository.list(&PREFIX.wal_folder()).await?;
    let names: Vec<_> = listed.iter().map(|one| one.name.as_str()).collect();
    assert!(names.contains(&name.as_str()), "{names:?}");
    assert_eq!(repository.folders(&PREFIX.to_string()).await?, ["wal"]);
    repository.delete(name.as_str()).await?;
    repository.delete(name.as_str()).await?;
    assert_eq!(repository.get(&name).await?, None);
    assert_eq!(repository.size(&name).await?, None);
    Ok(())
}

async fn is_claimed_by_one(
    one: &Repository,
    other: &Repository,
    races: Races,
) -> anyhow::Result<()> {
    let (first, second) = (WriterId(Uuid::new_v4()), WriterId(Uuid::new_v4()));
    let left = Claim::take(one, &PREFIX, first);
    let right = Claim::take(other, &PREFIX, second);
    let (left, right) = match races {
        Races::Settled => tokio::join!(left, right),
        Races::NotSettled => (left.await, right.await),
    };
    assert!(
        left.is_ok() != right.is_ok(),
        "both or none: {left:?}, {right:?}"
    );
    let refused = left.err().or(right.err());
    assert!(
        matches!(refused, Some(ClaimError::Taken { .. })),
        "{refused:?}"
    );
    Ok(())
}

async fn takes_many_parts(repository: &Repository) -> anyhow::Result<()> {
    let label = "20261121T021406Z-full".parse()?;
    let name = PREFIX.pack(&label, 1);
    let mut upload = repository.upload(&name).await?;
    for byte in 0..3_u8 {
        upload
            .put_part(PutPayload::from(vec![byte; 6 << 20]))
            .await?;
    }
    assert_eq!(
        repository.size(&name).await?,
        None,
        "there before it is completed"
    );
    upload.complete().await?;
    assert_eq!(repository.size(&name).await?, Some(18 << 20));
    let end = (18 << 20) - 1;
    assert_eq!(repository.get_range(&name, end..end + 1).await?[..], [2]);
    repository.delete_folder(&PREFIX.backups_folder()).await?;
    assert_eq!(repository.size(&name).await?, None);
    Ok(())
}

/// A place that is gone is never a place without the object.
pub(crate) async fn is_missed(repository: &Repository) -> anyhow::Result<()> {
    let error = repository.confirm().await.err();
    let problem = error
        .ok_or_else(|| anyhow::anyhow!("it is there"))?
        .problem();
    let told = ["repository-gone", "repository-failed"].contains(&problem.code.as_str());
    assert!(told, "{problem}");
    Ok(())
}
