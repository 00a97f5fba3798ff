#!/usr/bin/env bash
# Installs the object stores that the tests of repositories run against: moto (S3) from PyPI and
# Azurite (Azure Blob Storage) from npm, into BOMA_TEST_STORES_DIR, else /var/cache/boma/stores.
# The tests look in the same place.
#
# Safe to repeat, also side by side; does nothing, quickly, when all is there.
set -euo pipefail

# Newer versions: change them here, run again.
moto=5.2.5
azurite=3.35.0

directory=${BOMA_TEST_STORES_DIR:-/var/cache/boma/stores}
wanted="moto $moto, azurite $azurite"
[ "$(cat "$directory/.installed" 2>/dev/null)" != "$wanted" ] || exit 0

# Whoever runs the tests must be able to run them.
umask 022
mkdir -p "$directory"
if command -v flock >/dev/null; then
  exec 9>"$directory/.lock"
  flock 9
fi
[ "$(cat "$directory/.installed" 2>/dev/null)" != "$wanted" ] || exit 0

rm -rf "$directory/moto" "$directory/azurite"
python3 -m venv "$directory/moto"
"$directory/moto/bin/pip" install --quiet --disable-pip-version-check "moto[server,s3]==$moto"
mkdir -p "$directory/azurite"
# No script of a package runs here.
npm install --prefix "$directory/azurite" --silent --no-fund --no-audit --ignore-scripts "azurite@$azurite"
echo "$wanted" >"$directory/.installed"
echo "install-test-stores: $directory ($wanted)"
