//! Which frames are read, in which order, and where what is in them goes. Pure.

use std::ops::Range;

use crate::format::manifest::{Frame, Manifest};

/// Bytes read from the repository at once.
const READ_BYTES: u64 = 4 << 20;

/// A run of frames that lie side by side in one pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which of [`Manifest::packs`].
    pub(super) pack: usize,
    /// Bytes of the object.
    pub(super) range: Range<u64>,
    /// Its frames, with what is in each.
    pub(super) frames: Vec<(Frame, Vec<Target>)>,
}

/// Bytes of a frame and where they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Which of [`Manifest::files`].
    pub(super) file: usize,
    /// Where in the file.
    pub(super) offset: u64,
    /// Where in the frame's plain bytes.
    pub(super) at: u32,
    /// How many.
    pub(super) length: u32,
}

/// Turns the manifest round: from frames to files. Every frame is read once, whatever backup it
/// comes from.
pub(super) fn runs(manifest: &Manifest) -> Vec<Run> {
    let mut targets: Vec<Vec<Vec<Target>>> = manifest
        .packs
        .iter()
        .map(|pack| vec![Vec::new(); pack.frames.len()])
        .collect();
    for (file, entry) in manifest.files.iter().enumerate() {
        let mut offset = 0;
        for extent in &entry.extents {
            targets[extent.pack as usize][extent.frame as usize].push(Target {
                file,
                offset,
                at: extent.at,
                length: extent.length,
            });
            offset += u64::from(extent.length);
        }
    }
    let mut runs = Vec::new();
    for (number, (pack, targets)) in manifest.packs.iter().zip(targets).enumerate() {
        let mut frames: Vec<_> = pack.frames.iter().copied().zip(targets).collect();
        frames.sort_by_key(|(frame, _)| frame.offset);
        for (frame, targets) in frames {
            add(&mut runs, number, (frame, targets));
        }
    }
    runs
}

fn add(runs: &mut Vec<Run>, pack: usize, (frame, targets): (Frame, Vec<Target>)) {
    let end = frame.offset + u64::from(frame.stored);
    match runs.last_mut() {
        Some(run)
            if run.pack == pack
                && run.range.end == frame.offset
                && end - run.range.start <= READ_BYTES =>
        {
            run.range.end = end;
            run.frames.push((frame, targets));
        }
        Some(_) | None => runs.push(Run {
            pack,
            range: frame.offset..end,
            frames: vec![(frame, targets)],
        }),
    }
}
