#!/usr/bin/env bash
# Gets OpenSSH's server for the tests of repositories behind SSH, into BOMA_TEST_SSHD_DIR, else
# /var/cache/boma/sshd. The package is taken apart and not installed: installed, it would listen.
# The tests look in the same place, and at /usr/sbin/sshd before.
#
# Safe to repeat, also side by side; does nothing, quickly, when it is there.
set -euo pipefail

# Under root it gives its rights away to this user, which the package makes when it is installed.
if [ "$(id -u)" = 0 ] && ! id sshd >/dev/null 2>&1; then
  useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd
fi

directory=${BOMA_TEST_SSHD_DIR:-/var/cache/boma/sshd}
[ ! -x /usr/sbin/sshd ] || exit 0
[ ! -x "$directory/sshd" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "install-test-sshd: install OpenSSH's server with this system's package manager" >&2
  exit 1
fi

# Whoever runs the tests must be able to run it.
umask 022
mkdir -p "$directory"
if command -v flock >/dev/null; then
  exec 9>"$directory/.lock"
  flock 9
fi
[ ! -x "$directory/sshd" ] || exit 0

rm -rf "$directory/tree" "$directory/packages"
mkdir -p "$directory/packages"
(cd "$directory/packages" && apt-get -q=2 download openssh-server libwrap0 2>/dev/null)
for package in "$directory"/packages/*.deb; do
  dpkg --extract "$package" "$directory/tree"
done
libraries=$(dirname "$(find "$directory/tree" -name 'libwrap.so.*' -print -quit)")
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$directory/tree/usr/sbin/sshd" >"$directory/sshd.new"
chmod 755 "$directory/sshd.new"
mv "$directory/sshd.new" "$directory/sshd"
rm -rf "$directory/packages"
echo "install-test-sshd: $directory"
