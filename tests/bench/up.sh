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

# P4: from no cluster to everything ready; images cached.
seconds "$vadev" supply list > /dev/null
ours=$(seconds "$vadev" up --yes --no-wait "${ports[@]}")
"$vadev" down --yes > "$work/out.log" 2>&1
ours=$(seconds "$vadev" up --yes "${ports[@]}")

# The same manifests for the classic way: what vadev applied, as it is in the cluster, and the images that run.
config=.vadev/vadev-bench.kubeconfig
export KUBECONFIG="$work/$config"
kinds=namespace,serviceaccount,configmap,secret,service,statefulset,deployment,poddisruptionbudget
mesh=peerauthentication,gateway,virtualservice,destinationrule
kubectl get "$kinds,$mesh" -A -l vadev.dev/workspace=bench -o json > all.json
jq '.items |= map(del(.status, .metadata.resourceVersion, .metadata.uid, .metadata.creationTimestamp, .metadata.generation,
    .metadata.annotations."deployment.kubernetes.io/revision", .spec.clusterIP, .spec.clusterIPs))
    | .items |= sort_by(.kind != "Namespace")' all.json > tree.json
images=$(jq -r '[.items[] | .spec.template.spec.containers[]?.image] | unique[]' tree.json)

# P5: nothing to do. The baseline asks the same server about the same objects and changes nothing either.
p5=$(median 5 "$vadev" up --yes --quiet "${ports[@]}")
base5=$(median 3 kubectl apply --server-side --force-conflicts --dry-run=server -f tree.json)

cp .vadev/vadev-bench.kind.yaml classic.yaml
sed -i 's/"name": *"vadev-bench"/"name":"bench-classic"/; s/"hostPort":38080/"hostPort":38081/; s/"hostPort":38443/"hostPort":38444/' classic.yaml
"$vadev" down --yes > "$work/out.log" 2>&1

classic() {
    export KUBECONFIG="$work/classic.kubeconfig"
    kind create cluster --config classic.yaml --name bench-classic --kubeconfig "$KUBECONFIG" --wait 120s
    for image in $images; do kind load docker-image "$image" --name bench-classic; done
    "$cache/bin/istioctl" install -y -f istio.yaml
    kubectl apply --server-side -f tree.json
    kubectl wait --for=condition=available deployment --all -n voiceassistant-prod --timeout=300s
    for set in $(kubectl get statefulset -n voiceassistant-infra -o name); do
        kubectl rollout status "$set" -n voiceassistant-infra --timeout=300s
    done
}
cat > istio.yaml <<'YAML'
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: minimal
  hub: vadev.local/istio
  tag: 1.31.0
  components:
    ingressGateways:
      - name: istio-ingressgateway
        enabled: true
        k8s: { resources: { requests: { cpu: 20m, memory: 64Mi } }, service: { type: NodePort } }
  values:
    telemetry: { enabled: false }
    pilot:
      autoscaleEnabled: false
      resources: { requests: { cpu: 50m, memory: 128Mi } }
      env: { PILOT_ENABLE_ALPN_FILTER: "false", PILOT_ENABLE_METADATA_EXCHANGE: "false" }
    gateways: { istio-ingressgateway: { autoscaleEnabled: false } }
    global: { imagePullPolicy: IfNotPresent, proxy: { resources: { requests: { cpu: 10m, memory: 40Mi } } } }
YAML
base4=$(seconds classic)
row P4 "up, dev profile, images cached, no cluster" "$ours" "$base4" "kind, istioctl, kubectl one after the other"
row P5 "up with nothing to do" "$p5" "$base5" "kubectl apply --server-side, dry run"

# P7 and P10 have goals in milliseconds, not baselines: kubectl's own start stands beside them.
p7=$(median 9 "$vadev" render -p prod)
p10=$(median 9 "$vadev" --version)
base10=$(median 9 kubectl version --client)
row P7 "render the prod profile, process start included" "$p7" "$base10" "kubectl version --client"
row P10 "vadev --version" "$p10" "$base10" "kubectl version --client"
