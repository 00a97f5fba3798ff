#!/usr/bin/env bash
# The HTTP API against its own description: schemathesis asks a real `boma serve` for what the
# description allows and for what it does not, with and without a token, and every answer must be one
# that is described. Arguments are passed to it.
#
# Packages come from PyPI at pinned versions into ~/.cache/boma/api, once. BOMA_BINARY names a binary
# to test in place of the one that is built here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { echo "api: $*" >&2; }

die() {
  say "FAILED: $*"
  exit 1
}

# Where the packages are: a directory per content of the list, so that a change makes a new one.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/boma/api
prepare_packages() {
  packages=$cache/$(cksum <"$here/requirements.txt" | tr ' ' -)
  if [ ! -e "$packages/.complete" ]; then
    say "fetching schemathesis"
    rm -rf "$packages"
    python3 -m venv "$packages"
    "$packages/bin/pip" install --quiet --no-deps --require-virtualenv --only-binary :all: \
      -r "$here/requirements.txt"
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

export PYTHONDONTWRITEBYTECODE=1 BOMA_STATE_DIR BOMA_POSTGRES_DIR
scratch=$(mktemp -d "${TMPDIR:-/tmp}/boma-api.XXXXXX")
# Servers of root run as another user, who has to get there.
chmod 711 "$scratch"
BOMA_STATE_DIR=$scratch/state
mkdir "$BOMA_STATE_DIR" "$scratch/manifests"
# Nothing of a test stays behind in the machine's hosts file.
echo "hosts-file = ''" >"$BOMA_STATE_DIR/config.toml"
BOMA_POSTGRES_DIR=
if [ ! -x /usr/lib/postgresql/16/bin/postgres ]; then
  BOMA_POSTGRES_DIR=$("$root/scripts/install-test-postgres.sh" --where)/16
fi

serving=
finish() {
  local status=$?
  if [ -n "$serving" ]; then
    kill "$serving" 2>/dev/null || true
    wait "$serving" || true
  fi
  if [ "$status" != 0 ]; then
    say "what was made is kept: $scratch"
  fi
  "$root/scripts/end-processes.sh" "$scratch"
  if [ -n "${BOMA_TEST_RECORD:-}" ]; then
    "$root/scripts/search-passwords.sh" "$BOMA_TEST_RECORD" "$scratch" || status=1
  fi
  if [ "$status" = 0 ]; then
    rm -rf "$scratch"
  fi
  exit "$status"
}
trap finish EXIT

# The manifest of a resource: its kind, its name, its `spec`.
manifest() {
  cat <<YAML
---
apiVersion: lowops.manifests.v1
kind: $1
metadata:
  name: $2
  organization: boma
  organizational-unit: tests
  environment: scratch
  project: api
spec:
$3
YAML
}

{
  manifest Database ledger '  version: "16"
  cpuCount: 0.5
  memory: 256Mi
  storage: { size: 1Gi }
  backupConfig: { enabled: false }
  parameters: { work_mem: 8MB, jit: false }
  access: { projects: [{ project: elsewhere }] }'
  manifest Application web '  env: { A: "1" }
  accessControl:
    databases:
      - { name: ledger, readOnly: true, rotationDays: 30, secretSource: { envVar: LEDGER_URL } }'
  manifest Application runs '  source: { command: [sleep, "100000"], workingDirectory: / }
  preDeploy: "true"
  accessControl:
    databases:
      - name: ledger'
} >"$scratch/manifests/all.yaml"

"$BOMA_BINARY" serve "$scratch/manifests" --dashboard 127.0.0.1:0 >"$scratch/serve.log" 2>&1 &
serving=$!

# Answers with what a command prints, once it has something to print.
patience=300
once() {
  local until=$((SECONDS + patience)) said
  until said=$("$@" 2>"$scratch/last") && [ -n "$said" ]; do
    [ "$SECONDS" -lt "$until" ] || die "never: $*: $(cat "$scratch/last" "$scratch/serve.log")"
    read -rt 0.2 <> <(:) || true
  done
  echo "$said"
}

is_ready() { "$BOMA_BINARY" get -o json | grep -o '"phase": *"Ready"'; }

once is_ready >/dev/null
link=$(once "$BOMA_BINARY" dashboard)
token=$(once "$BOMA_BINARY" token create owner --role admin)
# Whatever it makes up is of projects where it may do nothing, or of this one.
developer=$(once "$BOMA_BINARY" token create developer --role developer:boma/tests/scratch/api)
origin=${link%/sign-in*}

cd "$scratch"
# Asks for whatever anybody may ask, but for the answer that has no end. How many of the texts that it makes up
# cannot stand in a path is no matter of the API.
ask() {
  "$packages/bin/schemathesis" "${config[@]}" run "$origin/api/openapi.json" \
    --header "Authorization: Bearer $token" --checks all --generation-deterministic \
    --request-timeout 30 --warnings off --suppress-health-check filter_too_much \
    --exclude-operation-id followEvents "$@"
}

# Reads, by who may read everything.
config=()
# Not its third phase: no answer here leads to another request.
ask --mode all --phases coverage,fuzzing --max-examples 40 --include-method GET "$@"

# Names that are made up find nothing; these do.
cat >"$scratch/there.toml" <<TOML
[parameters]
"path.organization" = "boma"
"path.unit" = "tests"
"path.environment" = "scratch"
"path.project" = "api"
"query.dryRun" = true
"header.If-Match" = "*"
[[operations]]
include-path-regex = "/databases/"
parameters = { "path.name" = "ledger" }
[[operations]]
include-path-regex = "/applications/"
parameters = { "path.name" = ["web", "runs"] }
TOML
config=(--config-file "$scratch/there.toml")
ask --mode positive --phases fuzzing --max-examples 5 \
  --include-operation-id getDatabase --include-operation-id getApplication

# Changes, by who may change one project: made up ones, and ones of what is there. That a manifest may
# not say everything that is an object is no fault of the description.
token=$developer
config=()
ask --mode all --phases coverage,fuzzing --max-examples 25 --exclude-method GET \
  --exclude-checks positive_data_acceptance "$@"
config=(--config-file "$scratch/there.toml")
ask --mode positive --phases fuzzing --max-examples 25 --exclude-method GET \
  --exclude-checks positive_data_acceptance
say "passed"
