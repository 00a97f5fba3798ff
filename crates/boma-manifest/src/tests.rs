//! Tests of the whole way from bytes to manifests and problems.

mod hostile;
mod page;
mod parsing;
mod places;
mod problems;
mod round_trip;
mod schema;
