#!/usr/bin/env bash
# Prints what a PostgreSQL can do, in the form of crates/boma-kubernetes/src/builds/*.tsv:
#   scripts/describe-postgres.sh /usr/lib/postgresql/15 >crates/boma-kubernetes/src/builds/15.tsv
# A line for each setting: name, when a change takes effect, type, least and greatest value; then
# one for each extension.
set -euo pipefail
home=${1:?usage: describe-postgres.sh DIRECTORY}

# Nothing but `postgres` refuses root, and it only describes itself here.
as_owner() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid nobody --clear-groups "$@"
  else
    "$@"
  fi
}

as_owner "$home/bin/postgres" --describe-config | awk -F '\t' -v OFS='\t' '
  BEGIN {
    effect["internal"] = "internal"; effect["postmaster"] = "postmaster"
    effect["sighup"] = effect["superuser"] = effect["user"] = "reload"
    effect["backend"] = effect["superuser-backend"] = "session"
  }
  { print "setting", $1, effect[$2], $4, $6, $7 }' | sort
extensions=$home/share/extension
[ -d "$extensions" ] || extensions=$home/share/postgresql/extension
[ -d "$extensions" ] || extensions=/usr/share/postgresql/$(basename "$home")/extension
for control in "$extensions"/*.control; do
  printf 'extension\t%s\n' "$(basename "$control" .control)"
done
