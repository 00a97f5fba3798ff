#!/usr/bin/env bash
# All checks and all tests: `make test`, and what CI runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*" >&2; }

step "what the tests need"
scripts/setup.sh test

step "checks"
cargo xtask check

# What the tests write and which passwords they make; searched at the end, then gone.
record=$(mktemp -d "${TMPDIR:-/tmp}/boma-record.XXXXXX")
trap 'rm -rf "$record"' EXIT
mkdir "$record/said"
: >"$record/passwords"
# Servers and tests of an ordinary user add to the list; only its owner reads it.
chmod 711 "$record"
chmod 622 "$record/passwords"
export BOMA_TEST_RECORD=$record

step "tests"
cargo nextest run --workspace 2>&1 | tee "$record/said/nextest"

step "examples in documentation"
cargo test --quiet --workspace --doc

for script in tests/*/run.sh; do
  [ -e "$script" ] || continue
  step "$script"
  "$script" 2>&1 | tee "$record/said/$(basename "$(dirname "$script")")"
done

step "passwords in what was written"
scripts/search-passwords.sh "$record"

echo "Not part of this: the tests on a Kubernetes (make test-kubernetes; CI runs them where it can)." >&2
step "all passed"
