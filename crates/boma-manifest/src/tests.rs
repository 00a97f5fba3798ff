//! Tests of the whole way from bytes to manifests and problems.

mod parsing;
