#!/usr/bin/env bash
# Verbs that only read, against kubectl doing the same, on the platform of the current workspace, which has to run. Prints a
# table with ratios; changes nothing. The goal is 0.3 s a verb.
#
#   tests/bench/verbs.sh [VADEV] [RUNS]        default: vadev of target/release, 5 runs; run it in the workspace's folder
set -euo pipefail
vadev=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/vadev}")
runs=${2:-5}
command -v kubectl > /dev/null || { echo "kubectl is not on PATH: it is the baseline" >&2; exit 3; }
export NO_COLOR=1
cluster=$("$vadev" status -o json | jq -r .cluster)
export KUBECONFIG="$PWD/.vadev/$cluster.kubeconfig"
apps=voiceassistant-prod
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The median of the runs, in seconds; what a command prints is shown when it fails.
median() {
    local begin end
    for _ in $(seq "$runs"); do
        begin=$(date +%s.%N)
        "$@" > "$log" 2>&1 || { tail -n 30 "$log" >&2; return 1; }
        end=$(date +%s.%N)
        awk -v b="$begin" -v e="$end" 'BEGIN { printf "%.3f\n", e - b }'
    done | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
# What one types without vadev, several commands where one does not do.
all() { local words; for words in "$@"; do bash -c "$words"; done; }
row() {
    local ours base
    ours=$(median "$vadev" $1)
    shift
    base=$(median all "$@")
    awk -v what="$verb" -v ours="$ours" -v base="$base" \
        'BEGIN { printf "| %s | %.3f s | %.3f s | %.2f | %s |\n", what, ours, base, ours / base, ours < 0.3 ? "yes" : "no" }'
}

printf '%s cores, %s, median of %s\n\n' "$(nproc)" "$("$vadev" --version)" "$runs"
echo "| verb | vadev | kubectl | ratio | < 0.3 s |"
echo "|---|---|---|---|---|"
compare() { verb=$1; row "$@"; }
infra=voiceassistant-infra
compare status "kubectl get deploy,sts,pods -A -l app -o wide"
compare "logs agent-engine" "kubectl -n $apps logs -l app=agent-engine --tail 100"
compare "logs --tail 20" "kubectl -n $apps logs -l app --tail 20 --max-log-requests 50 --prefix" "kubectl -n $infra logs -l app --tail 20 --max-log-requests 50 --prefix"
compare "describe agent-engine" "kubectl -n $apps describe deploy agent-engine" "kubectl -n $apps describe pod -l app=agent-engine" "kubectl -n $apps get cm agent-engine-config -o yaml"
compare events "kubectl get events -A --sort-by=.lastTimestamp"
compare "rollout history agent-engine" "kubectl -n $apps rollout history deploy/agent-engine"
compare "rollout status agent-engine" "kubectl -n $apps rollout status deploy/agent-engine"
compare "config get agent-engine" "kubectl -n $apps get cm agent-engine-config -o yaml"
compare "secret list" "kubectl -n $apps get secrets" "kubectl -n $infra get secrets"
compare "hpa list" "kubectl get hpa -A"
compare "netpol show" "kubectl get networkpolicies -A"
compare "tls show" "kubectl -n istio-system get secret voiceassistant-tls-cert -o yaml"
compare "top" "kubectl get --raw /api/v1/nodes/$cluster-control-plane/proxy/stats/summary"
compare "audit-log" "kubectl get --raw /api/v1/nodes/$cluster-control-plane/proxy/logs/kubernetes/audit.log"
compare "proxy-status" "kubectl -n istio-system exec deploy/istiod -- pilot-discovery request GET /debug/syncz"
compare "proxy-config agent-engine" "kubectl -n $apps exec deploy/agent-engine -c istio-proxy -- pilot-agent request GET config_dump"
