#!/usr/bin/env bash
# P9 of the performance goals: from an empty machine to the verified platform, and the longest time without a sign of progress.
# It measures the machine as it is, so run it where nothing has been built yet (a fresh virtual machine); it refuses a machine
# that has vadev's cache already, unless XDG_CACHE_HOME leads to a folder without one. Leaves the platform running.
#
#   tests/bench/cold.sh [VADEV]        default: vadev of target/release, compiled first and timed by itself
set -euo pipefail
cache="${XDG_CACHE_HOME:-$HOME/.cache}/vadev"
if [ -e "$cache" ]; then
    echo "$cache is there: this machine is not empty" >&2
    exit 3
fi
if command -v docker > /dev/null && docker images --quiet 'vadev.local/*' 2> /dev/null | grep -q .; then
    echo "the Docker engine has images of vadev's: this machine is not empty" >&2
    exit 3
fi
compiled=0
if [ $# -eq 0 ]; then
    begun=$(date +%s)
    cargo build --release
    compiled=$(($(date +%s) - begun))
fi
vadev=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/vadev}")
work=$(mktemp -d)
cd "$work"
printf 'apiVersion: vadev.dev/v1\nkind: Workspace\nname: cold\nprofile: dev\n' > vadev.yaml
# Each line of progress with the second it came in; a terminal sees more than these lines, never less.
begun=$(date +%s)
NO_COLOR=1 "$vadev" up --yes --progress plain -o json 2> >(while IFS= read -r line; do printf '%(%s)T %s\n' -1 "$line"; done > lines) > report.json
seconds=$(($(date +%s) - begun))
silence=$(awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { print most + 0 }' lines)
printf '%s cores, %s GiB, %s\n\n' "$(nproc)" "$(free -g | awk '/^Mem/ { print $2 }')" "$("$vadev" --version)"
echo "| id | work | measured | goal |"
echo "|---|---|---|---|"
[ "$compiled" -gt 0 ] && printf '| – | compiling vadev itself | %s s | – |\n' "$compiled"
printf '| P9 | up on an empty machine, dev profile, verified | %s s | 1200 s |\n' "$seconds"
printf '| P9 | longest time without a line of progress | %s s | 2 s |\n' "$silence"
echo "the platform runs: (cd $work && $vadev status)"
