//! A small repository in memory, made without PostgreSQL: backups of a few files, and segments of
//! 4 KiB that carry the headers of real ones.

use std::sync::Arc;

use boma_instance::InstanceId;
use boma_instance::backup::BackupKind;
use boma_instance::wal::{Lsn, Segment, Timeline, WalFile};
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use uuid::Uuid;

use crate::format::envelope::{FRAME_HEADER_BYTES, Position};
use crate::format::frame::FrameWriter;
use crate::format::key::{KEY_BYTES, RepositoryKey};
use crate::format::label::Label;
use crate::format::manifest::{
    BLOCK_BYTES, Extent, File, Frame, HASH_BYTES, HashesAt, Manifest, Pack, ServerFacts, Span,
};
use crate::format::names::{ObjectName, Prefix};
use crate::store::{Put, Repository};
use crate::wal::Head;

pub(crate) const SIZE: u32 = 4096;

pub(crate) const PREFIX: Prefix = Prefix {
    instance: InstanceId(Uuid::from_u128(7)),
    system_identifier: 42,
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// The key of all fixtures.
pub(crate) fn key() -> RepositoryKey {
    RepositoryKey::new([1; KEY_BYTES])
}

pub(crate) struct Fixture {
    pub(crate) store: Arc<InMemory>,
    pub(crate) repository: Repository,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let repository = open(store.clone()).await;
        Self { store, repository }
    }

    /// Stores an object of frames.
    pub(crate) async fn object(&self, name: &ObjectName, frames: &[&[u8]]) -> Vec<Frame> {
        let envelope = self.repository.seal(name).unwrap();
        let mut writer = FrameWriter::new(3).unwrap();
        let mut object = envelope.header().to_vec();
        let mut written = Vec::new();
        for (index, plain) in (0_u64..).zip(frames) {
            let offset = object.len();
            let position = if index + 1 == frames.len() as u64 {
                Position::Last
            } else {
                Position::Inner
            };
            writer
                .write(&envelope, (index, position), plain, &mut object)
                .unwrap();
            assert!(object.len() > offset + FRAME_HEADER_BYTES);
            written.push(Frame {
                index,
                offset: offset as u64,
                stored: u32::try_from(object.len() - offset).unwrap(),
                plain: u32::try_from(plain.len()).unwrap(),
            });
        }
        let put = self.repository.put_sealed_new(name, object).await;
        assert_eq!(put.unwrap(), Put::Stored, "{name}");
        written
    }

    /// Stores a backup of files, each in a frame of its own. Those of the parent that are the same
    /// are not stored again.
    pub(crate) async fn backup(
        &self,
        second: i64,
        segment: u64,
        files: &[(&str, Vec<u8>)],
        parent: Option<&Manifest>,
    ) -> Manifest {
        let kind = parent.map_or(BackupKind::Full, |_| BackupKind::Incremental);
        let label = Label::new(at(second), kind);
        let before = |path: &str, content: &[u8]| {
            let sum = crc32c::crc32c(content);
            let files = parent.iter().flat_map(|parent| &parent.files);
            let mut files = files.filter(|file| file.path == path && file.crc32c == sum);
            files.next()
        };
        let new: Vec<_> = files
            .iter()
            .filter(|(path, content)| before(path, content).is_none())
            .map(|(_, content)| content.as_slice())
            .collect();
        let mut packs = parent.map_or_else(Vec::new, |parent| parent.packs.clone());
        let mut stored_bytes = 0;
        if !new.is_empty() {
            let name = PREFIX.pack(&label, 1);
            let frames = self.object(&name, &new).await;
            let bytes = self.repository.size(&name).await.unwrap().unwrap();
            stored_bytes += bytes;
            packs.push(Pack {
                backup: label.clone(),
                number: 1,
                bytes,
                frames,
            });
        }
        let (entries, hashes) = entries(files, packs.len(), before, at(second));
        let map = self.object(&PREFIX.map(&label), &[&hashes]).await;
        let manifest = Manifest {
            files: entries,
            packs,
            map,
            stored_bytes,
            ..empty(label, second, segment)
        };
        self.manifest(&manifest).await;
        manifest
    }

    pub(crate) async fn manifest(&self, manifest: &Manifest) {
        let name = PREFIX.manifest(&manifest.label);
        let put = self.repository.put_new(&name, &manifest.encode()).await;
        assert_eq!(put.unwrap(), Put::Stored);
    }

    /// Archives a file of the write-ahead log.
    pub(crate) async fn log(&self, file: WalFile, second: i64, content: &[u8]) -> ObjectName {
        let name = PREFIX.wal(file, SIZE);
        let head = Head {
            file: file.file_name(SIZE),
            system_identifier: PREFIX.system_identifier,
            digest: blake3::hash(content).to_hex().to_string(),
            length: content.len() as u64,
            modified_at: at(second),
        };
        let head = serde_json::to_vec(&head).unwrap();
        self.object(&name, &[&head, content]).await;
        name
    }

    /// Archives a segment.
    pub(crate) async fn segment(&self, timeline: u32, number: u64, second: i64) -> ObjectName {
        let segment = Segment {
            timeline: Timeline(timeline),
            number,
        };
        let page = page(segment);
        self.log(WalFile::Segment(segment), second, &page).await
    }

    /// Archives where timeline 2 came from.
    pub(crate) async fn history(&self, second: i64, left_at: Lsn) -> ObjectName {
        let text = format!("1\t{left_at}\tno recovery target specified\n");
        let file = WalFile::History(Timeline(2));
        self.log(file, second, text.as_bytes()).await
    }

    pub(crate) async fn bytes(&self, name: &str) -> Vec<u8> {
        let found = self.store.get(&Path::from(name)).await.unwrap();
        found.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn put(&self, name: &str, bytes: Vec<u8>) {
        let payload = PutPayload::from(bytes);
        self.store.put(&Path::from(name), payload).await.unwrap();
    }

    /// Names of all objects.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = self.repository.list(&PREFIX.to_string()).await.unwrap();
        listed.into_iter().map(|object| object.name).collect()
    }
}

pub(crate) async fn open(store: Arc<dyn ObjectStore>) -> Repository {
    Repository::open_store(store, key(), 3).await.unwrap()
}

/// What the first page of a segment of PostgreSQL 17 begins with, and nothing else.
fn page(segment: Segment) -> Vec<u8> {
    let mut page = vec![0; SIZE as usize];
    page[0..2].copy_from_slice(&0xD116_u16.to_le_bytes());
    page[2..4].copy_from_slice(&6_u16.to_le_bytes());
    page[4..8].copy_from_slice(&segment.timeline.0.to_le_bytes());
    page[8..16].copy_from_slice(&segment.start(SIZE).0.to_le_bytes());
    page[24..32].copy_from_slice(&PREFIX.system_identifier.to_le_bytes());
    page[32..36].copy_from_slice(&SIZE.to_le_bytes());
    page
}

/// What a manifest says of files, and the hashes of their blocks.
fn entries<'a>(
    files: &[(&str, Vec<u8>)],
    packs: usize,
    before: impl Fn(&str, &[u8]) -> Option<&'a File>,
    modified_at: Timestamp,
) -> (Vec<File>, Vec<u8>) {
    let mut hashes = Vec::new();
    let mut entries = Vec::new();
    let mut next = 0;
    for (path, content) in files {
        let extents = before(path, content).map_or_else(
            || {
                next += 1;
                vec![Extent {
                    pack: u32::try_from(packs - 1).unwrap(),
                    frame: next - 1,
                    at: 0,
                    length: u32::try_from(content.len()).unwrap(),
                }]
            },
            |file| file.extents.clone(),
        );
        entries.push(File {
            path: (*path).into(),
            size: content.len() as u64,
            mode: 0o600,
            modified_at,
            crc32c: crc32c::crc32c(content),
            extents,
            hashes: HashesAt {
                frame: 0,
                at: u32::try_from(hashes.len()).unwrap(),
            },
        });
        for block in content.chunks(BLOCK_BYTES) {
            hashes.extend_from_slice(&blake3::hash(block).as_bytes()[..HASH_BYTES]);
        }
    }
    (entries, hashes)
}

/// The manifest of a backup of nothing, in one segment.
fn empty(label: Label, second: i64, segment: u64) -> Manifest {
    Manifest {
        label,
        server: ServerFacts {
            instance: PREFIX.instance,
            identity: "demo/db".into(),
            database: "db".into(),
            system_identifier: PREFIX.system_identifier,
            version: "17.2".into(),
            segment_size: SIZE,
        },
        span: Span {
            timeline: Timeline(1),
            start: Lsn(segment * u64::from(SIZE) + 40),
            stop: Lsn(segment * u64::from(SIZE) + 200),
            started_at: at(second),
            stopped_at: at(second + 1),
        },
        backup_label: "START WAL LOCATION".into(),
        tablespace_map: None,
        directories: Vec::new(),
        tablespaces: Vec::new(),
        files: Vec::new(),
        packs: Vec::new(),
        map: Vec::new(),
        damaged: Vec::new(),
        stored_bytes: 0,
    }
}
