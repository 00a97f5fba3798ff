#!/usr/bin/env bash
# `make bench-kubernetes`: what a thousand custom resources cost on an API server alone, then a first
# query in a cluster, which scripts/kubernetes-lab.sh brings up. Markdown on stdout. Where there are
# no programs for one of them, that is said, and the other is measured.
#
# BOMA_BENCH_DATABASES and BOMA_BENCH_QUIET (seconds) change the first; `--quick` shortens both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --package boma
cargo xtask bench kubernetes "$@"
if [ -z "${BOMA_TEST_KUBERNETES_IMAGE:-}" ]; then
  export BOMA_TEST_BINARY=${CARGO_TARGET_DIR:-target}/release/boma
  given=$(scripts/kubernetes-lab.sh up) || {
    echo "*** NOT MEASURED: there is no cluster (docs/testing.md)." >&2
    exit 3
  }
  trap 'scripts/kubernetes-lab.sh down' EXIT
  eval "$given"
fi
cargo xtask bench kubernetes-create "$@"
