#!/usr/bin/env bash
# `make bench`: every figure beside what it is compared to, in one run. Markdown on stdout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh test
cargo build --release --package boma
cargo build --release --package boma-testkit --example load
exec cargo xtask bench "$@"
