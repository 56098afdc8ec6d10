// Answers Prometheus' HTTP service discovery with what its Kubernetes discovery would find. Debian's package is built without
// the latter. Labels have the same names, so that one set of relabelling rules serves both.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	// Only Prometheus in the same container asks.
	address = "127.0.0.1:9099"
	kubelet = "10250"
)

type object struct {
	Metadata struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase, PodIP string
		Addresses    []struct{ Type, Address string }
	}
}

type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

var notInNames = regexp.MustCompile(`[^a-zA-Z0-9_]`)

func main() {
	client, err := apiClient()
	if err != nil {
		log.Fatalf("kubernetes-targets: %v", err)
	}
	serve := func(path, resource string, groups func(object) (group, bool)) {
		http.HandleFunc(path, func(answer http.ResponseWriter, _ *http.Request) {
			objects, err := list(client, resource)
			if err != nil {
				// Prometheus keeps the targets it has.
				log.Printf("kubernetes-targets: %v", err)
				http.Error(answer, err.Error(), http.StatusBadGateway)
				return
			}
			found := []group{}
			for _, one := range objects {
				if group, ok := groups(one); ok {
					found = append(found, group)
				}
			}
			answer.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(answer).Encode(found); err != nil {
				log.Printf("kubernetes-targets: %v", err)
			}
		})
	}
	serve("/pods", "pods", pod)
	serve("/nodes", "nodes", node)
	log.Fatal(http.ListenAndServe(address, nil))
}

func pod(one object) (group, bool) {
	labels := map[string]string{
		"__meta_kubernetes_namespace":     one.Metadata.Namespace,
		"__meta_kubernetes_pod_name":      one.Metadata.Name,
		"__meta_kubernetes_pod_ip":        one.Status.PodIP,
		"__meta_kubernetes_pod_phase":     one.Status.Phase,
		"__meta_kubernetes_pod_node_name": one.Spec.NodeName,
	}
	named(labels, "__meta_kubernetes_pod_label_", one.Metadata.Labels)
	named(labels, "__meta_kubernetes_pod_annotation_", one.Metadata.Annotations)
	return group{[]string{one.Status.PodIP}, labels}, one.Status.PodIP != ""
}

func node(one object) (group, bool) {
	labels := map[string]string{"__meta_kubernetes_node_name": one.Metadata.Name}
	named(labels, "__meta_kubernetes_node_label_", one.Metadata.Labels)
	for _, at := range one.Status.Addresses {
		if at.Type == "InternalIP" {
			return group{[]string{net.JoinHostPort(at.Address, kubelet)}, labels}, true
		}
	}
	return group{}, false
}

func named(labels map[string]string, prefix string, values map[string]string) {
	for name, value := range values {
		// What kubectl writes down for itself is long and of no use to a rule.
		if !strings.Contains(name, "last-applied-configuration") {
			labels[prefix+notInNames.ReplaceAllString(name, "_")] = value
		}
	}
}

func apiClient() (*http.Client, error) {
	pem, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%sca.crt holds no certificate", account)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

func list(client *http.Client, resource string) ([]object, error) {
	// The kubelet renews the token: it is read each time.
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, err
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	// The API server answers from its memory instead of asking its database.
	request, err := http.NewRequest(http.MethodGet, "https://"+host+"/api/v1/"+resource+"?resourceVersion=0", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return nil, fmt.Errorf("listing %s: %s %s", resource, response.Status, text)
	}
	var all struct{ Items []object }
	return all.Items, json.NewDecoder(response.Body).Decode(&all)
}
