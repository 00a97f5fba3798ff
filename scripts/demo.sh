#!/usr/bin/env bash
# `make demo`: from nothing to an application that queries its own PostgreSQL. Can be repeated.
#
# It has a state directory of its own (BOMA_STATE_DIR overrides), so that it never meets a real one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

# Shows a command as a person would type it, and runs it.
show() {
  printf '$ boma'
  printf ' %s' "$@"
  printf '\n'
  "$boma" "$@"
}

if [ -z "${BOMA_STATE_DIR:-}" ]; then
  if [ "$(id -u)" = 0 ]; then
    BOMA_STATE_DIR=/var/lib/boma-demo
  else
    BOMA_STATE_DIR=${XDG_STATE_HOME:-$HOME/.local/state}/boma-demo
  fi
fi
export BOMA_STATE_DIR

step "what is missing"
scripts/setup.sh demo

# A debug build: on a fresh machine it is ready in a fraction of the time that a release build takes.
step "build"
cargo build --package boma
boma=$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)/boma

# Whoever stopped the demo's servers by hand and starts the demo again wants them back.
[ ! -d "$BOMA_STATE_DIR" ] || "$boma" --quiet start || true

step "the manifests of examples/fincorp, made real"
show apply examples/fincorp

step "what there is now"
show get databases

step "auth-api writes and reads, over the connection string that was injected into its environment"
show run auth-api -- examples/fincorp/bin/sign-in alice

step "what a read-only application may do in the same database"
show run audit-report -- examples/fincorp/bin/report

cat <<TEXT

== where to look next

  export PATH="${boma%/boma}:\$PATH" BOMA_STATE_DIR="$BOMA_STATE_DIR"
  cd examples/fincorp

  boma describe accounts-db            everything that was measured
  boma logs auth-api                   what the application says, which runs now
  boma env auth-api                    what the application is given
  boma psql accounts-db                psql as administrator
  boma events                          what happened, and when
  boma plan                            change a manifest, and see what it would do
  boma stop                            stop all of it; the data stays

  All of it goes on running until it is stopped. README.md has a tour of five minutes.
TEXT
