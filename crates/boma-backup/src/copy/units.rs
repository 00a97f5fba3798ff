//! How the work is cut. Pure.

use std::ops::Range;

use super::walk::FoundFile;

/// Longest part of a file that one worker takes; a whole number of blocks. Short enough for two
/// workers to end at nearly the same time, long enough for a file to be opened rarely.
const SLICE_BYTES: u64 = 32 << 20;

/// Files up to this size are taken together with their neighbours.
const SMALL_BYTES: u64 = 1 << 20;

/// Bytes of such a bundle.
const BUNDLE_BYTES: u64 = 4 << 20;

/// Work for one worker at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A part of a file.
    Slice {
        /// Which file.
        file: usize,
        /// Which bytes.
        bytes: Range<u64>,
    },
    /// Neighbours in the listing: all of those that are small.
    Bundle(Range<usize>),
}

/// Whether a file is taken with its neighbours.
pub(super) fn is_small(file: &FoundFile) -> bool {
    file.size <= SMALL_BYTES
}

/// Cuts the work, long parts first, so that the last unit of all is a short one.
pub(super) fn cut(files: &[FoundFile]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (file, found) in files
        .iter()
        .enumerate()
        .filter(|(_, found)| !is_small(found))
    {
        let mut start = 0;
        while start < found.size {
            let end = found.size.min(start + SLICE_BYTES);
            units.push(Unit::Slice {
                file,
                bytes: start..end,
            });
            start = end;
        }
    }
    let (mut first, mut bytes) = (0, 0);
    for (file, found) in files.iter().enumerate() {
        bytes += if is_small(found) { found.size } else { 0 };
        if bytes >= BUNDLE_BYTES {
            units.push(Unit::Bundle(first..file + 1));
            (first, bytes) = (file + 1, 0);
        }
    }
    if first < files.len() {
        units.push(Unit::Bundle(first..files.len()));
    }
    units
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_of_every_file_is_taken_once(
            sizes in prop::collection::vec(0_u64..100 << 20, 0..40)
        ) {
            let files: Vec<_> = sizes.iter().map(|size| FoundFile {
                path: String::new(),
                size: *size,
                mode: 0o600,
                modified_at: Timestamp::UNIX_EPOCH,
            }).collect();
            let mut taken = vec![Vec::new(); files.len()];
            for unit in cut(&files) {
                match unit {
                    Unit::Slice { file, bytes } => taken[file].push(bytes),
                    Unit::Bundle(members) => {
                        for file in members.filter(|file| is_small(&files[*file])) {
                            taken[file].push(0..files[file].size);
                        }
                    }
                }
            }
            for (parts, size) in taken.iter().zip(sizes) {
                let mut end = 0;
                prop_assert!(!parts.is_empty());
                for part in parts {
                    prop_assert_eq!(part.start, end);
                    end = part.end;
                }
                prop_assert_eq!(end, size);
            }
        }
    }
}
