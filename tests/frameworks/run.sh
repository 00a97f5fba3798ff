#!/usr/bin/env bash
# Real frameworks through `boma run`, on PostgreSQL 15 and 16: Django migrates, Knex (another
# read/write application) alters Django's table, Django migrates it again, and a read-only
# application sees it all and can write nothing.
#
# Packages come from PyPI and npm at pinned versions into ~/.cache/boma/frameworks, once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
versions=("${@:-15}")
[ $# -gt 0 ] || versions=(15 16)

say() { echo "frameworks: $*" >&2; }

die() {
  say "FAILED: $*"
  exit 1
}

# Where the packages are: a directory per content of the fixture, so that a change makes a new one.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/boma/frameworks
fingerprint() { cat "$@" | cksum | tr ' ' -; }

# The system's own Python, because a virtual environment goes on pointing to the one that made it.
prepare_django() {
  local made
  made=$cache/django-$(fingerprint "$here/django/requirements.txt")
  if [ ! -e "$made/.complete" ]; then
    say "fetching Django"
    rm -rf "$made"
    python3 -m venv "$made"
    "$made/bin/pip" install --quiet --no-deps --require-virtualenv --only-binary :all: \
      -r "$here/django/requirements.txt"
    touch "$made/.complete"
  fi
  python=$made/bin/python
}

prepare_knex() {
  local made
  made=$cache/knex-$(fingerprint "$here/knex/package.json" "$here/knex/package-lock.json" \
    "$here/knex/knexfile.js" "$here"/knex/migrations/*)
  if [ ! -e "$made/.complete" ]; then
    say "fetching Knex"
    rm -rf "$made"
    mkdir -p "$made"
    cp -R "$here/knex/." "$made/"
    (cd "$made" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$made/.complete"
  fi
  knex=$made
}

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock 9
fi
prepare_django
prepare_knex
exec 9>&-

cargo build --quiet --package boma --manifest-path "$root/Cargo.toml"
boma=${CARGO_TARGET_DIR:-$root/target}/debug/boma

export PYTHONDONTWRITEBYTECODE=1 BOMA_STATE_DIR BOMA_POSTGRES_DIR
BOMA_STATE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/boma-fw.XXXXXX")
# Servers of root run as another user, who has to get there.
chmod 711 "$BOMA_STATE_DIR"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/boma-fw-source.XXXXXX")
# Nothing of a test stays behind in the machine's hosts file.
echo "hosts-file = ''" >"$BOMA_STATE_DIR/config.toml"
# What the distribution has is used, because its layout is the one that users have; for the other
# versions, the builds to test with.
builds=$("$root/scripts/install-test-postgres.sh" --where)
BOMA_POSTGRES_DIR=
for version in "${versions[@]}"; do
  [ -x "/usr/lib/postgresql/$version/bin/postgres" ] || BOMA_POSTGRES_DIR+=${BOMA_POSTGRES_DIR:+:}$builds/$version
done

finish() {
  local status=$?
  if [ "$status" != 0 ]; then
    say "the state directory is kept: $BOMA_STATE_DIR"
  fi
  "$boma" --quiet stop || status=1
  "$root/scripts/end-processes.sh" "$BOMA_STATE_DIR"
  if [ -n "${BOMA_TEST_RECORD:-}" ]; then
    "$root/scripts/search-passwords.sh" "$BOMA_TEST_RECORD" "$BOMA_STATE_DIR" || status=1
  fi
  if [ "$status" = 0 ]; then
    rm -rf "$BOMA_STATE_DIR" "$scratch"
  fi
  exit "$status"
}
trap finish EXIT

# The manifests for one major version.
manifests() {
  local version=$1 name access
  cat <<YAML
apiVersion: lowops.manifests.v1
kind: Database
metadata:
  name: ledger-$version
  organization: boma
  organizational-unit: tests
  environment: scratch
  project: frameworks
spec:
  version: "$version"
  cpuCount: 0.5
  memory: 256Mi
  storage: { size: 1Gi }
  backupConfig: { enabled: false }
YAML
  for name in django knex report; do
    access=false
    [ "$name" != report ] || access=true
    cat <<YAML
---
apiVersion: lowops.manifests.v1
kind: Application
metadata:
  name: $name-$version
  organization: boma
  organizational-unit: tests
  environment: scratch
  project: frameworks
spec:
  accessControl:
    databases:
      - name: ledger-$version
        readOnly: $access
YAML
  done
}

# Runs a program with an application's environment, in a directory.
as() {
  local application=$1 directory=$2
  shift 2
  (cd "$directory" && "$boma" run "$application" -- "$@")
}

# Runs a command that must print a text.
expect() {
  local text=$1 said
  shift
  said=$("$@" 2>&1) || die "$*: $said"
  case "$said" in
    *"$text"*) ;;
    *) die "$*: no \"$text\" in: $said" ;;
  esac
}

walk() {
  local version=$1
  local django=(as "django-$version" "$here/django" "$python" manage.py)
  local second=(as "knex-$version" "$knex" node_modules/.bin/knex)
  say "PostgreSQL $version: Django migrates"
  expect "Applying ledger.0002_first_accounts... OK" "${django[@]}" migrate ledger 0002
  expect "Applying auth.0012" "${django[@]}" migrate auth
  say "PostgreSQL $version: Knex alters Django's table"
  expect "Batch 1 run: 2 migrations" "${second[@]}" migrate:latest
  expect "Batch 1 rolled back: 2 migrations" "${second[@]}" migrate:rollback
  expect "Batch 1 run: 2 migrations" "${second[@]}" migrate:latest
  expect "Already up to date" "${second[@]}" migrate:latest
  say "PostgreSQL $version: Django alters it again, and uses it"
  expect "Applying ledger.0003_account_closed_at... OK" "${django[@]}" migrate
  expect "No migrations to apply" "${django[@]}" migrate
  expect "No changes detected" "${django[@]}" makemigrations --check --dry-run
  expect "2 accounts" "${django[@]}" shell --no-imports --command \
    'from ledger.models import Account; print(Account.objects.filter(closed_at=None).count(), "accounts")'
  say "PostgreSQL $version: the read-only application"
  expect "was refused" as "report-$version" "$here/django" "$python" read_only.py
}

for version in "${versions[@]}"; do
  manifests "$version" >"$scratch/$version.yaml"
done
"$boma" validate "$scratch"
"$boma" apply "$scratch"
for version in "${versions[@]}"; do
  walk "$version"
done
"$boma" --quiet plan "$scratch" || die "a second plan has something to do"
say "passed on PostgreSQL ${versions[*]}"
