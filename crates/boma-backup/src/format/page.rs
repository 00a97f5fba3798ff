//! Check sums of PostgreSQL's pages (`storage/checksum_impl.h`), and which bytes of a page say
//! what (`storage/bufpage.h`). The same for 15 to 18, for pages of 8 KiB.

/// Bytes of a page. Other sizes are a choice when PostgreSQL is compiled; no distribution makes it.
pub const PAGE_BYTES: usize = 8192;

/// Pages of one file of a relation: 1 GiB.
pub const PAGES_PER_FILE: u32 = 131_072;

const LANES: usize = 32;
const FNV_PRIME: u32 = 16_777_619;

/// Where each lane begins, so that pages of the same words in another order differ.
const BASES: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What a look at a page found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Its check sum is right.
    Sound,
    /// It was never written to; such a page has no check sum.
    New,
    /// It was changed at or after the given position: replay writes it anew.
    Replayed,
    /// Its check sum is wrong.
    Damaged,
}

/// Looks at a page. `number` counts from the beginning of its relation, across files; pages with
/// a position at or after `start` are put right by replay and may be torn.
pub fn look(page: &[u8; PAGE_BYTES], number: u32, start: u64) -> PageState {
    let upper = u16::from_ne_bytes([page[14], page[15]]);
    if upper == 0 {
        let blank = page.iter().all(|byte| *byte == 0);
        return if blank {
            PageState::New
        } else {
            PageState::Damaged
        };
    }
    let stored = u16::from_ne_bytes([page[8], page[9]]);
    if stored == checksum(page, number) {
        return PageState::Sound;
    }
    if lsn(page) >= start {
        PageState::Replayed
    } else {
        PageState::Damaged
    }
}

/// Position of the last change of a page.
pub fn lsn(page: &[u8; PAGE_BYTES]) -> u64 {
    let half = |at: usize| {
        u64::from(u32::from_ne_bytes([
            page[at],
            page[at + 1],
            page[at + 2],
            page[at + 3],
        ]))
    };
    half(0) << 32 | half(4)
}

/// The check sum that a page should have.
pub fn checksum(page: &[u8; PAGE_BYTES], number: u32) -> u16 {
    let mut sums = BASES;
    for (row, words) in page.chunks_exact(LANES * 4).enumerate() {
        let mut lanes = [0_u32; LANES];
        for (lane, word) in lanes.iter_mut().zip(words.chunks_exact(4)) {
            *lane = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        }
        if row == 0 {
            // The check sum itself counts as zero: two bytes at offset 8.
            lanes[2] &= u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        }
        mix(&mut sums, &lanes);
    }
    // Two rounds of zeros carry the last words into every bit.
    mix(&mut sums, &[0; LANES]);
    mix(&mut sums, &[0; LANES]);
    let folded = sums.iter().fold(0, |folded, sum| folded ^ sum) ^ number;
    let reduced = folded % 65_535 + 1;
    u16::try_from(reduced).expect("should be: a remainder of 65535, and one more, fits 16 bits")
}

/// One round of FNV-1a in every lane, with the shift that PostgreSQL adds to it.
#[inline]
fn mix(sums: &mut [u32; LANES], words: &[u32; LANES]) {
    for (sum, word) in sums.iter_mut().zip(words) {
        let mixed = *sum ^ word;
        *sum = mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17);
    }
}
