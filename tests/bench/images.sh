#!/usr/bin/env bash
# P3 of the performance goals: a changed image of 140 MB, 5 MB of it new, into the nodes: `vadev load` against
# `kind load docker-image` in the same run, on one node and on three. Prints a table with ratios. Makes and removes the clusters
# `vadev-bench-images-1` and `-3`, and no others.
#
#   tests/bench/images.sh [VADEV] [NODES…]        default: vadev of target/release, on 1 and 3 nodes
set -euo pipefail
vadev=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/vadev}")
counts=("${@:2}")
[ ${#counts[@]} -gt 0 ] || counts=(1 3)
cache="${VADEV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vadev}"
rounds=5
work=$(mktemp -d)
export NO_COLOR=1
cd "$work"
image=vadev.local/bench/load:1
tidy() {
    for count in "${counts[@]}"; do (cd "$work/$count" 2> /dev/null && "$vadev" down --yes --quiet) > "$work/down.log" 2>&1 || true; done
    docker rmi -f "$image" > "$work/down.log" 2>&1 || true
    rm -rf "$work"
}
trap tidy EXIT

# 135 MB that stay and 5 MB that change, like a runtime with a service on it. Random bytes: nothing can be compressed away.
mkdir context
head -c 135000000 /dev/urandom > context/runtime
printf 'FROM scratch\nCOPY runtime /runtime\nCOPY service /service\n' > context/Dockerfile
change() {
    head -c 5000000 /dev/urandom > context/service
    docker build -q -t "$image" context > build.log 2>&1 || { cat build.log >&2; return 1; }
}
now() { date +%s.%N; }
# The median of the seconds that a command takes for a changed image.
median() {
    for _ in $(seq "$rounds"); do
        change
        local begin
        begin=$(now)
        "$@" > out.log 2>&1 || { tail -n 20 out.log >&2; return 1; }
        awk -v b="$begin" -v e="$(now)" 'BEGIN { printf "%.3f\n", e - b }'
    done | sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", v[int((NR + 1) / 2)] }'
}

printf '%s cores, %s GiB, %s\n\n' "$(nproc)" "$(free -g | awk '/^Mem/ { print $2 }')" "$("$vadev" --version)"
echo "| id | work | vadev | kind load docker-image | quicker by |"
echo "|---|---|---|---|---|"
port=38180
for count in "${counts[@]}"; do
    mkdir "$count"
    printf 'apiVersion: vadev.dev/v1\nkind: Workspace\nname: bench-images-%s\nprofile: minimal\n' "$count" > "$count/vadev.yaml"
    # Nothing but a cluster is needed, and the smallest system is the quickest way to one.
    (cd "$count" && "$vadev" up --yes --only redis --skip-istio --no-wait --nodes "$count" --http-port "$port" \
        --https-port "$((port + 1))") > "$count/up.log" 2>&1 || { tail -n 20 "$count/up.log" >&2; exit 1; }
    port=$((port + 2))
    change
    (cd "$count" && "$vadev" load "$image") > out.log 2>&1 || { tail -n 20 out.log >&2; exit 1; }
    ours=$(median sh -c "cd $count && exec '$vadev' load $image")
    theirs=$(median "$cache/bin/kind" load docker-image "$image" --name "vadev-bench-images-$count")
    awk -v n="$count" -v ours="$ours" -v theirs="$theirs" \
        'BEGIN { printf "| P3 | 140 MB image, 5 MB new, to %s node(s) | %.2f s | %.2f s | %.1f× |\n", n, ours, theirs, theirs / ours }'
    (cd "$count" && "$vadev" down --yes --quiet) > down.log 2>&1
done
