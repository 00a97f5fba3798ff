//! Every byte of every kind of object is flipped; objects are cut, lost and swapped.

use boma_instance::wal::Lsn;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::*;
use crate::fixture::{Fixture, PREFIX, SIZE};
use crate::store::testing::{Faults, Faulty};

/// A full backup and an incremental one, a segment for each and one between, a second timeline,
/// who writes here, and a drill: one object of each kind at least.
pub(super) async fn fixture() -> (Fixture, [Manifest; 2]) {
    let fixture = Fixture::new().await;
    for number in 1..=4 {
        let second = i64::try_from(number).unwrap();
        fixture.segment(1, number, second).await;
    }
    fixture.segment(2, 4, 9).await;
    fixture.history(8, Lsn(u64::from(SIZE) * 4 + 9)).await;
    let file = WalFile::Partial(Segment {
        timeline: Timeline(1),
        number: 5,
    });
    fixture.log(file, 7, b"a part").await;
    let blocks: Vec<u8> = (0..80_000_u32)
        .map(|at| (at / 32_768).to_le_bytes()[0])
        .collect();
    let full = [
        ("base/1/1", blocks.clone()),
        ("base/1/2", vec![3; 500]),
        ("PG_VERSION", b"17\n".to_vec()),
        ("empty", Vec::new()),
    ];
    let full = fixture.backup(1, 1, &full, None).await;
    let changed = [("base/1/1", blocks), ("base/1/2", vec![4; 500])];
    let increment = fixture.backup(100, 3, &changed, Some(&full)).await;
    for name in [PREFIX.owner(), PREFIX.drill()] {
        fixture.repository.put_new(&name, b"{}").await.unwrap();
    }
    (fixture, [full, increment])
}

async fn look(fixture: &Fixture) -> Report {
    verify(&fixture.repository, &PREFIX, &Meter::new())
        .await
        .unwrap()
}

fn names(report: &Report) -> Vec<&str> {
    let names = report
        .findings
        .iter()
        .map(|finding| finding.object.as_str());
    names.collect()
}

#[tokio::test]
async fn a_repository_in_order_is_said_to_be_whole() {
    let (fixture, [full, increment]) = fixture().await;
    fixture.put(&format!("{PREFIX}/notes"), vec![1]).await;
    let meter = Meter::new();
    let report = verify(&fixture.repository, &PREFIX, &meter).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.whole, [full.label, increment.label]);
    assert_eq!(report.objects + 1, fixture.names().await.len() as u64);
    assert_eq!(Some(meter.done() + 1), meter.total());
}

#[tokio::test]
async fn every_flipped_byte_is_found_and_its_object_named() {
    let (fixture, _) = fixture().await;
    let mut flips = 0;
    for name in fixture.names().await {
        let whole = fixture.bytes(&name).await;
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1 << (place % 8);
            fixture.put(&name, changed).await;
            let report = look(&fixture).await;
            assert_eq!(names(&report), [name.as_str()], "byte {place}");
            assert!(!report.findings[0].problem.message.is_empty());
            flips += 1;
        }
        fixture.put(&name, whole).await;
    }
    assert!(flips > 1500, "{flips}");
    assert!(look(&fixture).await.is_clean());
}

#[tokio::test]
async fn whatever_is_cut_or_longer_is_found() {
    let (fixture, _) = fixture().await;
    for name in fixture.names().await {
        let whole = fixture.bytes(&name).await;
        let cuts = [0, 1, 47, 48, 49, whole.len() / 2, whole.len() - 1];
        let mut changed: Vec<_> = cuts.map(|length| whole[..length].to_vec()).to_vec();
        changed.push([whole.as_slice(), &[0]].concat());
        for bytes in changed {
            let length = bytes.len();
            fixture.put(&name, bytes).await;
            let report = look(&fixture).await;
            assert!(
                names(&report).contains(&name.as_str()),
                "{name} at {length}: {report:?}"
            );
        }
        fixture.put(&name, whole).await;
    }
}

#[tokio::test]
async fn whatever_is_missing_is_named_where_anything_says_that_it_was_there() {
    let (fixture, made) = fixture().await;
    for name in fixture.names().await {
        let whole = fixture.bytes(&name).await;
        fixture
            .store
            .delete(&Path::from(name.as_str()))
            .await
            .unwrap();
        let report = look(&fixture).await;
        let said = names(&report).contains(&name.as_str());
        if name.ends_with("/manifest") {
            // What is left is what an interrupted attempt leaves.
            assert_eq!(report.remains.len(), 1, "{name}");
        } else if name.contains("/wal/00000001/") && !name.ends_with("5.partial") {
            let file = name.rsplit('/').next().unwrap();
            let first_of_log = report
                .unusable
                .values()
                .flatten()
                .any(|why| why.contains(file));
            let last = name.ends_with('4');
            assert!(
                first_of_log || !report.gaps.is_empty() || last,
                "{name}: {report:?}"
            );
        } else if name.contains("/wal/00000002/")
            || name.ends_with(".partial")
            || name.ends_with("/drill")
        {
            // Nothing says that it was ever there.
            assert!(report.is_clean(), "{name}: {report:?}");
        } else {
            assert!(said, "{name}: {report:?}");
        }
        fixture.put(&name, whole).await;
    }
    let pack = PREFIX.pack(&made[0].label, 1);
    fixture
        .store
        .delete(&Path::from(pack.as_str()))
        .await
        .unwrap();
    let report = look(&fixture).await;
    assert_eq!(report.unusable.len(), 2);
    assert!(report.whole.is_empty());
    assert!(
        report.unusable[&made[1].label][0].contains("is missing"),
        "{report:?}"
    );
}

#[tokio::test]
async fn objects_that_change_places_are_both_named() {
    let (fixture, _) = fixture().await;
    let names_of_all = fixture.names().await;
    for (one, other) in names_of_all.iter().zip(&names_of_all[1..]) {
        let (first, second) = (fixture.bytes(one).await, fixture.bytes(other).await);
        fixture.put(one, second.clone()).await;
        fixture.put(other, first.clone()).await;
        let report = look(&fixture).await;
        let found = names(&report);
        assert!(
            found.contains(&one.as_str()) && found.contains(&other.as_str()),
            "{found:?}"
        );
        fixture.put(one, first).await;
        fixture.put(other, second).await;
    }
}

#[tokio::test]
async fn a_manifest_that_says_what_is_not_so_makes_its_backup_unusable() {
    let (fixture, [full, _]) = fixture().await;
    let wrong = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = full.clone();
        change(&mut manifest);
        manifest
    };
    let changed = [
        wrong(&|manifest| manifest.files[1].crc32c ^= 1),
        wrong(&|manifest| manifest.packs[0].frames[1].stored += 1),
        wrong(&|manifest| manifest.files[1].extents = manifest.files[2].extents.clone()),
    ];
    for manifest in changed {
        let name = PREFIX.manifest(&full.label);
        fixture
            .repository
            .replace(&name, &manifest.encode())
            .await
            .unwrap();
        let report = look(&fixture).await;
        assert!(report.unusable.contains_key(&full.label), "{report:?}");
        assert!(!report.is_clean());
    }
}

#[tokio::test]
async fn hashes_of_other_contents_are_found_and_the_backup_stays_usable() {
    let (fixture, [full, _]) = fixture().await;
    let name = PREFIX.map(&full.label);
    fixture
        .store
        .delete(&Path::from(name.as_str()))
        .await
        .unwrap();
    fixture.object(&name, &[&[9; 16 * 5]]).await;
    let report = look(&fixture).await;
    assert_eq!(names(&report), [name.as_str()]);
    let problem = &report.findings[0].problem;
    assert_eq!(problem.code, "repository-damaged");
    assert!(
        problem.message.contains("has hashes of other contents"),
        "{problem}"
    );
    assert_eq!(report.whole.len(), 2);
}

#[tokio::test]
async fn a_segment_that_is_another_than_its_name_says_is_named() {
    let (fixture, [full, _]) = fixture().await;
    let segment = Segment {
        timeline: Timeline(1),
        number: 1,
    };
    let name = PREFIX.wal(WalFile::Segment(segment), SIZE);
    for content in [vec![0; SIZE as usize], vec![0; 10]] {
        fixture
            .store
            .delete(&Path::from(name.as_str()))
            .await
            .unwrap();
        fixture.log(WalFile::Segment(segment), 1, &content).await;
        let report = look(&fixture).await;
        assert_eq!(names(&report), [name.as_str()]);
        let message = &report.findings[0].problem.message;
        assert!(message.contains("is not what its name says"), "{message}");
        assert!(report.unusable.contains_key(&full.label));
    }
}

#[tokio::test]
async fn a_store_that_fails_is_no_damage_and_work_can_be_told_to_stop() {
    let (fixture, _) = fixture().await;
    let store = Faulty::new(fixture.store.clone());
    let repository = crate::fixture::open(store.clone()).await;
    store.set(Faults {
        fail: 1,
        ..Faults::default()
    });
    let failed = verify(&repository, &PREFIX, &Meter::new())
        .await
        .unwrap_err();
    assert_eq!(failed.problem().code, "repository-failed");
    let report = verify(&repository, &PREFIX, &Meter::new()).await.unwrap();
    assert!(report.is_clean());
    let meter = Meter::new();
    meter.cancel();
    let problem = verify(&fixture.repository, &PREFIX, &meter)
        .await
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "verify-cancelled");
    let text = problem.to_string();
    assert!(text.contains("it was told to stop"), "{text}");
}
