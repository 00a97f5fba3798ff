//! What tests of several crates share: PostgreSQL builds, waiting, scratch directories.
