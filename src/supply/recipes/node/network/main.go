// The network of a vadev node, without a DaemonSet: it writes the CNI configuration as soon as the node has
// a pod range, keeps a route to every other node's pods, hides pod addresses from the outside world, and
// lets pods reach Docker's DNS server.
//
// It runs as a plain service beside the kubelet, with the kubelet's own credentials, so pods can be wired
// before any pod of its own would have been scheduled. It enforces no NetworkPolicy, and serves IPv4 only.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// dnsAddress is a link-local address that the entrypoint puts on the loopback device. Docker's own DNS
	// server listens on 127.0.0.11, which a pod cannot reach; this one it can, from any network namespace.
	dnsAddress = "169.254.53.53:53"
	// dnsUpstream names the DNS server that Docker had written into resolv.conf.
	dnsUpstream = "/run/vadev/dns-upstream"
	kubeconfig  = "/etc/kubernetes/kubelet.conf"
	cniConfig   = "/etc/cni/net.d/10-vadev.conflist"
	retryDelay  = 200 * time.Millisecond
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	if upstream, err := os.ReadFile(dnsUpstream); err == nil {
		if err := serveDNS(ctx, dnsAddress, string(upstream)); err != nil {
			log.Fatalf("cannot serve DNS to pods on %s: %v", dnsAddress, err)
		}
	}
	if err := keepServicesInside(); err != nil {
		log.Print(err)
	}
	name, err := os.Hostname()
	if err != nil {
		log.Fatalf("cannot read the node's name: %v", err)
	}
	follow(ctx, "metadata.name="+name, func(nodes map[string]node) bool {
		own, known := nodes[name]
		if !known || own.podRange == "" {
			return false
		}
		if err := writeCNI(cniConfig, own.podRange); err != nil {
			log.Printf("cannot write %s: %v", cniConfig, err)
			return false
		}
		return true
	})
	applied := newRoutes(name)
	follow(ctx, "", func(nodes map[string]node) bool {
		applied.set(nodes)
		return false
	})
}

// follow calls `seen` with all nodes known after every change, over as many connections as it takes,
// until `seen` returns true or the service is told to stop.
func follow(ctx context.Context, selector string, seen func(map[string]node) bool) {
	lastProblem := ""
	for ctx.Err() == nil {
		done, err := watchNodes(ctx, selector, seen)
		if done {
			return
		}
		// The API server is away while the control plane starts: one line says so, not one per attempt.
		if err != nil && err.Error() != lastProblem {
			lastProblem = err.Error()
			log.Printf("waiting for the API server: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}
