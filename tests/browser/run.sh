#!/usr/bin/env bash
# The dashboard in a real browser: Chromium walks the reference guide and looks at every page, on
# servers of PostgreSQL 16. Arguments are names of test files; all of them when there are none.
#
# Packages come from npm at pinned versions into ~/.cache/boma/browser, once. Pictures of the pages
# are kept in target/browser (BOMA_TEST_OUTPUT names another place); BOMA_BINARY names a binary to test
# in place of the one that is built here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { echo "browser: $*" >&2; }

# Where the packages are: a directory per content of the lock file, so that a change makes a new one.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/boma/browser
prepare_packages() {
  packages=$cache/$(cat "$here/package.json" "$here/package-lock.json" | cksum | tr ' ' -)
  if [ ! -e "$packages/.complete" ]; then
    say "fetching Playwright and axe"
    rm -rf "$packages"
    mkdir -p "$packages"
    cp "$here/package.json" "$here/package-lock.json" "$packages/"
    (cd "$packages" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$packages/.complete"
  fi
}

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock 9
fi
prepare_packages
exec 9>&-

if [ -z "${BOMA_BINARY:-}" ]; then
  cargo build --quiet --package boma --manifest-path "$root/Cargo.toml"
  BOMA_BINARY=${CARGO_TARGET_DIR:-$root/target}/debug/boma
fi
export BOMA_BINARY BOMA_BROWSER_SCRATCH BOMA_POSTGRES_DIR
export BOMA_TEST_OUTPUT=${BOMA_TEST_OUTPUT:-${CARGO_TARGET_DIR:-$root/target}/browser}
BOMA_BROWSER_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/boma-br.XXXXXX")
# Servers of root run as another user, who has to get there.
chmod 711 "$BOMA_BROWSER_SCRATCH"
BOMA_POSTGRES_DIR=
if [ ! -x /usr/lib/postgresql/16/bin/postgres ]; then
  BOMA_POSTGRES_DIR=$("$root/scripts/install-test-postgres.sh" --where)/16
fi

finish() {
  local status=$?
  if [ "$status" != 0 ]; then
    say "what was made is kept: $BOMA_BROWSER_SCRATCH"
  fi
  "$root/scripts/end-processes.sh" "$BOMA_BROWSER_SCRATCH"
  if [ -n "${BOMA_TEST_RECORD:-}" ]; then
    "$root/scripts/search-passwords.sh" "$BOMA_TEST_RECORD" "$BOMA_BROWSER_SCRATCH" || status=1
  fi
  if [ "$status" = 0 ]; then
    rm -rf "$BOMA_BROWSER_SCRATCH"
  fi
  exit "$status"
}
trap finish EXIT

# Modules find packages beside themselves only, so the tests are brought to the packages.
tests=$BOMA_BROWSER_SCRATCH/tests
mkdir "$tests"
cp -R "$here/." "$tests/"
ln -s "$packages/node_modules" "$tests/node_modules"

files=()
for file in "$tests/"*.test.mjs; do
  name=$(basename "$file" .test.mjs)
  if [ $# = 0 ] || [[ " $* " == *" $name "* ]]; then files+=("$file"); fi
done
# Two at a time: each has servers and a browser of its own, and waits for them half of its time.
node --test --test-concurrency=2 --test-reporter=spec "${files[@]}"
say "passed; pictures are in $BOMA_TEST_OUTPUT"
