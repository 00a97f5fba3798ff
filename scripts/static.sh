#!/usr/bin/env bash
# `make static`: a release build that needs no library of the machine it runs on, for pods and for any
# Linux of this architecture, in target/static/boma. See Containerfile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
# With --target: what runs while it is built is linked as ever.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  cargo build --release --package boma --target "$host"
mkdir -p "$target/static"
cp "$target/$host/release/boma" "$target/static/boma"
if readelf --program-headers "$target/static/boma" | grep -q INTERP; then
  echo "static: $target/static/boma is not linked statically: is there a static C library (libc6-dev)?" >&2
  exit 1
fi
# Whom the image knows by name.
printf '%s\n' 'root:x:0:0::/root:/sbin/nologin' 'boma:x:65532:65532::/var/lib/boma:/sbin/nologin' \
  >"$target/static/passwd"
echo "$target/static/boma"
