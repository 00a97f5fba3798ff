//! Looks at files of the write-ahead log.

use boma_instance::MajorVersion;
use boma_instance::wal::{Segment, WalFile};
use boma_problem::{Class, Problem};

use super::{Run, VerifyError};
use crate::format::names::ObjectName;
use crate::frames::Frames;
use crate::store::StoreError;
use crate::wal::Head;
use crate::wal::header::{Expected, SegmentHeader};

/// A file as it is stored.
struct Stored {
    head: Option<Head>,
    digest: blake3::Hash,
    length: u64,
    /// The beginning of its content.
    begin: Vec<u8>,
}

impl Run<'_> {
    pub(super) async fn read_log(&mut self, file: WalFile, bytes: u64) -> Result<(), VerifyError> {
        let name = self.catalog.prefix.wal(file, self.catalog.segment_size);
        let read = read(self.repository, &name, bytes).await;
        let stored = self.look(&name, read)?;
        let wrong = stored.as_ref().map(|stored| self.is_wrong(file, stored));
        if let Some(Some(why)) = &wrong {
            let text =
                format!("`{name}` in the backup repository is not what its name says: {why}");
            let problem = Problem::new(Class::Config, "repository-damaged", text);
            self.report.found(name.as_str(), problem);
        }
        if let (WalFile::Segment(segment), None | Some(Some(_))) = (file, wrong) {
            self.bad_segments.insert(segment);
        }
        Ok(())
    }

    /// What is wrong with a file that opened.
    fn is_wrong(&self, file: WalFile, stored: &Stored) -> Option<String> {
        let Some(head) = &stored.head else {
            return Some("it does not begin with what it is".into());
        };
        if head.file != file.file_name(self.catalog.segment_size) {
            return Some(format!("it is {:?}", head.file));
        }
        if head.system_identifier != self.catalog.prefix.system_identifier {
            let found = head.system_identifier;
            return Some(format!(
                "it is of the cluster with system identifier {found}"
            ));
        }
        if head.length != stored.length || head.digest != stored.digest.to_hex()[..] {
            return Some("its content is not that which was archived".into());
        }
        match file {
            WalFile::Segment(segment) => self.is_wrong_segment(segment, stored),
            WalFile::Partial(_) | WalFile::History(_) | WalFile::Label(..) => None,
        }
    }

    fn is_wrong_segment(&self, segment: Segment, stored: &Stored) -> Option<String> {
        // Without a base backup, nobody says what a segment should be.
        let newest = self.catalog.backups.last()?;
        if stored.length != u64::from(newest.segment_size) {
            return Some(format!("it has {} bytes", stored.length));
        }
        let major = newest.summary.server_version.split('.').next();
        let version = major.and_then(|major| major.parse::<MajorVersion>().ok())?;
        let expected = Expected {
            version,
            system_identifier: self.catalog.prefix.system_identifier,
            segment_size: newest.segment_size,
            timeline: segment.timeline,
            start: segment.start(newest.segment_size),
        };
        let Some(header) = SegmentHeader::read(&stored.begin) else {
            return Some("it has no header".into());
        };
        header.check(&expected).err().map(|error| error.to_string())
    }
}

async fn read(
    repository: &crate::store::Repository,
    name: &ObjectName,
    bytes: u64,
) -> Result<Stored, StoreError> {
    let mut frames = Frames::open(repository, name, bytes).await?;
    let mut hasher = blake3::Hasher::new();
    let mut stored = Stored {
        head: None,
        digest: hasher.finalize(),
        length: 0,
        begin: Vec::new(),
    };
    while let Some(frame) = frames.next().await? {
        match frame.index {
            0 => stored.head = serde_json::from_slice(frame.plain).ok(),
            index => {
                if index == 1 {
                    let begin = frame.plain.len().min(64);
                    stored.begin.extend_from_slice(&frame.plain[..begin]);
                }
                hasher.update(frame.plain);
                stored.length += frame.plain.len() as u64;
            }
        }
    }
    stored.digest = hasher.finalize();
    Ok(stored)
}
