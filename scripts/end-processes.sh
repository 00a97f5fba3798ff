#!/usr/bin/env bash
# Ends every process of a scratch installation: `scripts/end-processes.sh DIRECTORY`.
#
# Agents outlive every command of Boma by design; tests and benchmarks, whose state directory goes
# away, end them here, by process id. Only processes that have the directory in their arguments or
# work below it are ended, and only a directory below a temporary one is accepted.
set -euo pipefail

directory=$(realpath -- "${1:?a directory is needed}")
case "$directory" in
  /tmp/?* | /var/tmp/?* | "${TMPDIR:-/tmp}"/?*) ;;
  *)
    echo "end-processes: $directory is no scratch directory" >&2
    exit 2
    ;;
esac

# Agents end at once when asked; a server on its way down may need a moment.
patience=20

ended=()
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  if [ "$pid" = $$ ] || [ "$pid" = "$PPID" ]; then continue; fi
  # A process may end while it is looked at.
  arguments=$({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null) || continue
  works_in=$(readlink "$process/cwd" 2>/dev/null) || works_in=
  case "$arguments $works_in/" in
    *" $directory/"*)
      if kill "$pid" 2>/dev/null; then ended+=("$pid"); fi
      ;;
  esac
done

for pid in "${ended[@]}"; do
  if ! timeout "$patience" tail --pid="$pid" -f /dev/null; then
    echo "end-processes: process $pid does not end; killing it" >&2
    kill -9 "$pid" 2>/dev/null || true
  fi
done
