package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// writeCNI tells containerd how to wire a pod: a veth pair with a host route, an address from the node's
// range, and host ports. The address book is on a tmpfs: after a restart no pod of the old boot is left.
func writeCNI(path, podRange string) error {
	config := fmt.Sprintf(`{
  "cniVersion": "0.3.1",
  "name": "vadev",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{ "dst": "0.0.0.0/0" }],
        "ranges": [[{ "subnet": %q }]]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
`, podRange)
	if old, err := os.ReadFile(path); err == nil && string(old) == config {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// containerd watches the folder: it must never see half a file under the final name.
	if err := os.WriteFile(path+".new", []byte(config), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// serviceRange is where kind puts the addresses of services.
const serviceRange = "10.96.0.0/16"

// keepServicesInside refuses packets to a service that would leave the node. kube-proxy turns a service's
// address into a pod's before this rule sees it; until it has done so, the connection must fail at once and
// be tried again, and not end at whatever answers for that address outside.
func keepServicesInside() error {
	for _, chain := range []string{"OUTPUT", "FORWARD"} {
		rule := []string{chain, "-o", "eth0", "-d", serviceRange, "-j", "REJECT"}
		if exec.Command("iptables", append([]string{"-w", "-C"}, rule...)...).Run() == nil {
			continue
		}
		if output, err := exec.Command("iptables", append([]string{"-w", "-A"}, rule...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables -A %s: %w: %s", strings.Join(rule, " "), err, output)
		}
	}
	return nil
}

// routes keeps the kernel's routes and the masquerading chain in step with the nodes.
type routes struct {
	own     string
	via     map[string]string // pod range → node address, as given to the kernel
	hidden  string            // the chain's rules, as given to the kernel
	problem string
}

func newRoutes(own string) *routes { return &routes{own: own, via: map[string]string{}} }

func (r *routes) set(nodes map[string]node) {
	wanted, ranges := map[string]string{}, []string{}
	for name, known := range nodes {
		if known.podRange == "" {
			continue
		}
		ranges = append(ranges, known.podRange)
		if name != r.own && known.address != "" {
			wanted[known.podRange] = known.address
		}
	}
	sort.Strings(ranges)
	for podRange := range r.via {
		if wanted[podRange] == "" && r.run("", "ip", "route", "del", podRange) {
			delete(r.via, podRange)
		}
	}
	for podRange, address := range wanted {
		if r.via[podRange] != address && r.run("", "ip", "route", "replace", podRange, "via", address) {
			r.via[podRange] = address
		}
	}
	if rules := masquerade(nodes[r.own].podRange, ranges); rules != r.hidden && r.run(rules, "iptables-restore", "--noflush", "--wait") {
		r.hidden = rules
	}
}

// masquerade hides pod addresses from everything but pods: the world outside knows no way back to them.
// The chain is replaced in one transaction.
func masquerade(own string, ranges []string) string {
	if own == "" {
		return ""
	}
	lines := []string{"*nat", ":VADEV-MASQ - [0:0]", "-F VADEV-MASQ"}
	for _, podRange := range ranges {
		lines = append(lines, "-A VADEV-MASQ -d "+podRange+" -j RETURN")
	}
	lines = append(lines, "-A VADEV-MASQ -j MASQUERADE", "COMMIT", "")
	jump := []string{"POSTROUTING", "-s", own, "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "VADEV-MASQ"}
	// The jump is added once; the chain it names must exist before, which an empty one satisfies.
	if exec.Command("iptables", append([]string{"-w", "-t", "nat", "-C"}, jump...)...).Run() != nil {
		lines = append(lines[:2:2], append([]string{"-A " + strings.Join(jump, " ")}, lines[2:]...)...)
	}
	return strings.Join(lines, "\n")
}

// run tells a failure once; the next change or connection tries again.
func (r *routes) run(stdin, program string, arguments ...string) bool {
	command := exec.Command(program, arguments...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	if err == nil {
		return true
	}
	problem := fmt.Sprintf("%s %s: %v: %s", program, strings.Join(arguments, " "), err, output)
	if problem != r.problem {
		r.problem = problem
		log.Print(problem)
	}
	return false
}
