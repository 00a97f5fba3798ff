#!/usr/bin/env bash
# Installs what is missing, and nothing else: `scripts/setup.sh demo` what `make demo` needs,
# `scripts/setup.sh test` what all tests and benchmarks need. Quick when all is there.
#
# System packages come from the distribution through apt, as root or through sudo. Where there is
# no apt, or no right to use it, the script says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

purpose=${1:-test}
case "$purpose" in
  demo | test) ;;
  *)
    echo "usage: scripts/setup.sh [demo|test]" >&2
    exit 2
    ;;
esac

say() { echo "setup: $*" >&2; }

die() {
  say "$1"
  shift
  for line in "$@"; do say "  $line"; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: $*" "Run it as root, then run this again."
  fi
}

apt_updated=
apt_install() {
  have apt-get || die "missing: $*" "Install it with this system's package manager, then run this again."
  if [ -z "$apt_updated" ]; then
    say "apt-get update"
    as_root apt-get -q=2 update </dev/null >/dev/null
    apt_updated=1
  fi
  say "apt-get install $*"
  as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
    apt-get -q=2 install --yes --no-install-recommends "$@" </dev/null >/dev/null
}

# Whether a PostgreSQL server is installed where Boma looks for one.
have_postgres() {
  local found
  for found in "${BOMA_POSTGRES_DIR:-/nonexistent}"/{,*/}bin/postgres /usr/lib/postgresql/*/bin/postgres \
    /usr/pgsql-*/bin/postgres /opt/homebrew/opt/postgresql@*/bin/postgres \
    /usr/local/opt/postgresql@*/bin/postgres /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin/postgres; do
    [ ! -x "$found" ] || return 0
  done
  have pg_config && [ -x "$(pg_config --bindir)/postgres" ]
}

install_postgres() {
  # Debian's package makes and starts a cluster of its own; nobody here needs it.
  local keep_out=/etc/postgresql-common/createcluster.d/boma.conf
  apt_install postgresql-common
  as_root mkdir -p "${keep_out%/*}"
  echo "create_main_cluster = false" | as_root tee "$keep_out" >/dev/null
  apt_install postgresql postgresql-client
  as_root rm -f "$keep_out"
}

# What the build needs beside Rust: a linker, and a C compiler for SQLite and ring.
have cargo || die "Rust is not installed" "See https://rustup.rs"
have cc || apt_install gcc libc6-dev

if ! have_postgres; then
  if have brew && ! have apt-get; then
    brew install postgresql@17
  else
    install_postgres
  fi
fi
have psql || apt_install postgresql-client

if [ "$purpose" = test ]; then
  packages=()
  # npm fetches PostgreSQL 15 to 18 for the tests; Django runs in a virtual environment.
  { have npm && have node; } || packages+=(nodejs npm)
  have python3 || packages+=(python3)
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
  # The tests of the dashboard lead a real browser.
  [ -x "${BOMA_CHROMIUM:-/usr/bin/chromium}" ] || packages+=(chromium)
  # Clocks that differ are another library's.
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(libfaketime)
  [ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"
  scripts/install-test-postgres.sh
  scripts/install-test-stores.sh
  have ssh-agent || apt_install openssh-client
  scripts/install-test-sshd.sh
  if ! cargo nextest --version >/dev/null 2>&1; then
    say "cargo install cargo-nextest (some minutes, once)"
    # Unoptimised, it is built in half the time and runs tests no slower.
    cargo install --quiet --locked --debug cargo-nextest
  fi
fi
