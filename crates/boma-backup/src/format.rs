//! What stands in a repository, byte by byte. Pure: randomness comes in as an argument.
//!
//! ```text
//!   boma-repository.json                          which repository this is; to be read by all,
//!                                                 changed by nobody without the key
//!   instances/<instance>/<system identifier>/
//!     owner                                       who writes here
//!     wal/0000000200000000000000A1 …              the write-ahead log, by timeline
//!     wal/00000002.history
//!     backup/20261121T021406Z-full/pack-00001 …   contents of files, in frames
//!     backup/20261121T021406Z-full/map            hashes of blocks, for the next backup
//!     backup/20261121T021406Z-full/manifest       written last: without it there is no backup
//! ```
//!
//! Every object but the first is an [`envelope`]: a header and sealed frames, each compressed with
//! zstd and then encrypted. docs/decisions/0080 says why it is as it is.

pub mod envelope;
pub mod frame;
pub(crate) mod hex;
pub mod key;
pub mod label;
pub mod manifest;
pub mod names;
pub mod page;
