#!/usr/bin/env bash
# P4, P5, P7 and P10 of the performance goals: vadev against the classic procedure and kubectl, in one run on one machine.
# Prints a table with ratios. Needs a kubectl on PATH for the baselines; makes and removes the clusters `vadev-bench` and
# `bench-classic`, and no others.
#
#   tests/bench/up.sh [VADEV]        default: vadev of target/release
set -euo pipefail
vadev=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/vadev}")
command -v kubectl > /dev/null || { echo "kubectl is not on PATH: it is the baseline" >&2; exit 3; }
cache="${VADEV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vadev}"
work=$(mktemp -d)
export NO_COLOR=1
cd "$work"
printf 'apiVersion: vadev.dev/v1\nkind: Workspace\nname: bench\nprofile: dev\n' > vadev.yaml
ports=(--http-port 38080 --https-port 38443)
kind() { "$cache/bin/kind" "$@"; }
tidy() {
    "$vadev" down --yes --quiet > "$work/down.log" 2>&1 || true
    kind delete cluster --name bench-classic --kubeconfig "$work/classic.kubeconfig" > "$work/down.log" 2>&1 || true
    rm -rf "$work"
}
trap tidy EXIT

# Seconds that a command takes; its output goes to a file that is shown when it fails.
seconds() {
    local begin end
    begin=$(date +%s.%N)
    "$@" > "$work/out.log" 2>&1 || { tail -n 30 "$work/out.log" >&2; return 1; }
    end=$(date +%s.%N)
    awk -v b="$begin" -v e="$end" 'BEGIN { printf "%.3f", e - b }'
}
# The median of N runs.
median() {
    local n=$1
    shift
    for _ in $(seq "$n"); do seconds "$@"; echo; done | sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", v[int((NR + 1) / 2)] }'
}
row() { awk -v id="$1" -v what="$2" -v ours="$3" -v base="$4" -v name="$5" \
    'BEGIN { printf "| %s | %s | %.2f s | %.2f s (%s) | %.2f |\n", id, what, ours, base, name, ours / base }'; }

printf '%s cores, %s GiB, %s\n\n' "$(nproc)" "$(free -g | awk '/^Mem/ { print $2 }')" "$("$vadev" --version)"
echo "| id | work | vadev | baseline | ratio |"
echo "|---|---|---|---|---|"

# P4: from no cluster to everything ready; images cached. The disk has written what the cluster before left to it: a container is
# not made before that, and neither side's work waits for the other's.
rest() { sync; sleep 5; }
anew() {
    "$vadev" down --yes > "$work/down.log" 2>&1
    rest
}
"$vadev" up --yes --no-wait "${ports[@]}" > "$work/out.log" 2>&1
ours=$(for _ in 1 2 3; do anew; seconds "$vadev" up --yes "${ports[@]}"; echo; done | sort -n | sed -n 2p)

# The same manifests for the classic way: every object of vadev's as it is in the cluster, of whatever kind, but not what
# controllers made of them; the images that run; and the IstioOperator that vadev gave to istioctl.
config=.vadev/vadev-bench.kubeconfig
export KUBECONFIG="$work/$config"
kinds=$(kubectl api-resources --verbs=create,list --output name |
    grep -vE '^(events|pods|replicasets|endpoints|endpointslices|controllerrevisions|persistentvolumeclaims|jobs)(\.|$)' | paste -sd,)
kubectl get "$kinds" -A -l vadev.dev/workspace=bench -o json > all.json
jq '.items |= map(select(.metadata.ownerReferences == null) | del(.status, .metadata.resourceVersion, .metadata.uid,
    .metadata.creationTimestamp, .metadata.generation, .metadata.annotations."deployment.kubernetes.io/revision",
    .spec.clusterIP, .spec.clusterIPs)) | .items |= sort_by(.kind != "Namespace", .kind != "CustomResourceDefinition")' all.json > tree.json
images=$(jq -r '[.items[] | .spec.template.spec? | (.containers[]?, .initContainers[]?) | .image] | unique[]' tree.json)
installed=$(kubectl -n istio-system get configmap vadev-mesh -o jsonpath='{.data.digest}')
cp "$cache/istio-${installed:0:16}.yaml" istio.yaml

# P5: nothing to do. kubectl's first apply notes what it applied; the ones that are timed change nothing.
p5=$(median 5 "$vadev" up --yes --quiet "${ports[@]}")
kubectl apply -f tree.json > "$work/out.log" 2>&1
base5=$(median 3 kubectl apply -f tree.json)
printf '%s objects, of %s kinds\n' "$(jq '.items | length' tree.json)" "$(jq '[.items[].kind] | unique | length' tree.json)" >&2

cp .vadev/vadev-bench.kind.yaml classic.yaml
sed -i 's/"name": *"vadev-bench"/"name":"bench-classic"/; s/"hostPort":38080/"hostPort":38081/; s/"hostPort":38443/"hostPort":38444/' classic.yaml
"$vadev" down --yes > "$work/out.log" 2>&1

# Called where a failure does not end the script by itself.
classic() {
    export KUBECONFIG="$work/classic.kubeconfig"
    kind create cluster --config classic.yaml --name bench-classic --kubeconfig "$KUBECONFIG" --wait 120s || return 1
    for image in $images; do kind load docker-image "$image" --name bench-classic || return 1; done
    "$cache/bin/istioctl" install -y -f istio.yaml || return 1
    kubectl apply -f tree.json || return 1
    kubectl wait --for=condition=available deployment --all -n voiceassistant-prod --timeout=300s || return 1
    for set in $(kubectl get statefulset -n voiceassistant-infra -o name); do
        kubectl rollout status "$set" -n voiceassistant-infra --timeout=300s || return 1
    done
}
base4=$(for _ in 1 2 3; do
    kind delete cluster --name bench-classic --kubeconfig "$work/classic.kubeconfig" > "$work/down.log" 2>&1 || true
    rest
    seconds classic
    echo
done | sort -n | sed -n 2p)
row P4 "up, dev profile, images cached, no cluster; median of 3" "$ours" "$base4" "kind, istioctl, kubectl one after the other"
row P5 "up with nothing to do" "$p5" "$base5" "kubectl apply of the same tree"

# P7 and P10 have goals in milliseconds, not baselines: kubectl's own start stands beside them.
"$vadev" render -p prod -o json > prod.json
{
    printf 'apiVersion: vadev.dev/v1\nkind: Environment\nname: production\nhosts: [api.voiceassistant.example]\n'
    printf 'tokens: { issuer: https://login.example, jwksUri: https://login.example/keys }\nimages:\n'
    # Any digest does: what is timed is the writing of the tree.
    jq -r --arg digest "$(printf '0%.0s' $(seq 64))" '.[] | select(.kind | IN("Deployment", "StatefulSet")) |
        "  \(.metadata.name): \"\(.spec.template.spec.containers[0].image)@sha256:\($digest)\""' prod.json
} > prod.yaml
p7=$(median 9 "$vadev" promote -p prod --env prod.yaml --out k8s --yes)
p10=$(median 9 "$vadev" --version)
base10=$(median 9 kubectl version --client)
row P7 "promote: the whole production tree written, process start included" "$p7" "$base10" "kubectl version --client"
row P10 "vadev --version" "$p10" "$base10" "kubectl version --client"
