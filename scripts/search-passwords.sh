#!/usr/bin/env bash
# Searches everything that a run of the tests wrote for every password that it made:
# `scripts/search-passwords.sh RECORD [DIRECTORY…]`. RECORD/passwords has the passwords, one a line;
# what is searched is the rest of RECORD, or the directories that are named.
#
# Fails when one is found, and also when there is nothing to search or to search for: a search that
# cannot fail says nothing. Prints names of files only.
set -euo pipefail

record=${1:?the directory of the run is needed}
shift
list=$record/passwords

die() {
  echo "search-passwords: $*" >&2
  exit 1
}

# Names of files below some directories that have a password of a list in them.
search() {
  local passwords=$1 status=0
  shift
  grep -rlaF --devices=skip -f "$passwords" -- "$@" || status=$?
  # 1: nothing was found. 2: files went away meanwhile, which is as good.
  [ "$status" -le 2 ] || die "grep: exit code $status"
}

# That a password is found where one was planted, in text and between other bytes.
prove() {
  local trial
  trial=$(mktemp -d)
  head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$trial/list"
  mkdir -p "$trial/files/deep"
  echo nothing >"$trial/files/deep/clean"
  [ -z "$(search "$trial/list" "$trial/files")" ] || die "it finds what is not there"
  { printf '\0\377'; cat "$trial/list"; printf '\0'; } >"$trial/files/deep/state"
  [ "$(search "$trial/list" "$trial/files")" = "$trial/files/deep/state" ] || die "it does not find what was planted"
  rm -rf "$trial"
}

count() { find "$@" -type f -size +0 | wc -l; }

prove
[ -s "$list" ] || die "the run made no passwords"
# An empty line would be found everywhere, and a short one by chance.
if grep -qvE '^[A-Za-z0-9_-]{43,}$' "$list"; then die "the list has lines that are no passwords"; fi
if [ $# = 0 ]; then
  for part in said processes files; do
    [ "$(count "$record/$part")" -gt 0 ] || die "there is nothing in $record/$part"
  done
  set -- "$record/said" "$record/processes" "$record/files"
fi
[ "$(count "$@")" -gt 0 ] || die "there is nothing to search in $*"

found=$(search "$list" "$@")
[ -z "$found" ] || die "a password of the run is in:
$found"
echo "searched $(count "$@") files for $(wc -l <"$list") passwords; none was found" >&2
