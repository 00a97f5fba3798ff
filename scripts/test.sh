#!/usr/bin/env bash
# All checks and all tests: `make test`, and what CI runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*" >&2; }

step "what the tests need"
scripts/setup.sh test

step "checks"
cargo xtask check

step "tests"
cargo nextest run --workspace

step "examples in documentation"
cargo test --quiet --workspace --doc

for script in tests/*/run.sh; do
  [ -e "$script" ] || continue
  step "$script"
  "$script"
done

step "all passed"
