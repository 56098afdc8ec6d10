package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// node is what routing needs to know of a node.
type node struct {
	podRange string // CIDR; empty until the controller manager has given one
	address  string // the node's internal IPv4 address; empty until its kubelet has told it
}

// event is the part of a watch event that is read here.
type event struct {
	Type   string `json:"type"`
	Object struct {
		Message  string                `json:"message"`
		Metadata struct{ Name string } `json:"metadata"`
		Spec     struct{ PodCIDR string }
		Status   struct {
			Addresses []struct{ Type, Address string } `json:"addresses"`
		} `json:"status"`
	} `json:"object"`
}

// watchNodes streams node changes over one connection. A watch without a starting version first tells every
// node there is, so no separate list is needed; a new connection therefore starts from an empty map.
func watchNodes(ctx context.Context, selector string, seen func(map[string]node) bool) (bool, error) {
	server, client, err := kubeletClient(kubeconfig)
	if err != nil {
		return false, err
	}
	defer client.CloseIdleConnections()
	query := url.Values{"watch": {"true"}, "timeoutSeconds": {"3600"}}
	if selector != "" {
		query.Set("fieldSelector", selector)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/nodes?"+query.Encode(), nil)
	if err != nil {
		return false, err
	}
	response, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("GET nodes: %s", response.Status)
	}
	nodes := map[string]node{}
	for decoder := json.NewDecoder(response.Body); ; {
		var change event
		if err := decoder.Decode(&change); err != nil {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		if change.Type == "ERROR" {
			return false, errors.New(change.Object.Message)
		}
		if change.Type == "DELETED" {
			delete(nodes, change.Object.Metadata.Name)
		} else {
			nodes[change.Object.Metadata.Name] = read(change)
		}
		if seen(nodes) {
			return true, nil
		}
	}
}

func read(change event) node {
	var known node
	// The range is checked, not trusted: it ends in a route and in a file.
	if prefix, err := netip.ParsePrefix(change.Object.Spec.PodCIDR); err == nil && prefix.Addr().Is4() {
		known.podRange = prefix.String()
	}
	for _, address := range change.Object.Status.Addresses {
		if parsed, err := netip.ParseAddr(address.Address); err == nil && address.Type == "InternalIP" && parsed.Is4() {
			known.address = parsed.String()
		}
	}
	return known
}

// kubeletClient reads the kubeconfig that kubeadm writes for the kubelet. The kubelet's certificate is
// rotated, so it is read again for every connection.
func kubeletClient(path string) (string, *http.Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ": "); found {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	pem := func(key string) ([]byte, error) {
		if file := fields[key]; file != "" {
			return os.ReadFile(file)
		}
		return base64.StdEncoding.DecodeString(fields[key+"-data"])
	}
	authority, err := pem("certificate-authority")
	if err != nil {
		return "", nil, err
	}
	certificate, err := pem("client-certificate")
	if err != nil {
		return "", nil, err
	}
	key, err := pem("client-key")
	if err != nil {
		return "", nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return "", nil, fmt.Errorf("the kubelet's certificate in %s: %w", path, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return "", nil, fmt.Errorf("no cluster authority in %s", path)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	return fields["server"], &http.Client{Transport: transport}, nil
}
