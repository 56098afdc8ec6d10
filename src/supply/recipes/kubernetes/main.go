// One executable for the Kubernetes programs that a vadev node needs.
//
// The programs share most of their code, so a single link saves both build time and, inside the node
// image, several copies of the same machine code. Which program runs is decided by the name that the
// executable is called by, as busybox does; the images and the node carry links with the usual names.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	_ "time/tzdata" // CronJob time zones work in images that carry no zone files.

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubeadmerrors "k8s.io/kubernetes/cmd/kubeadm/app/util/errors"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs maps the name that the executable was called by to what it then does.
var programs = map[string]func(){
	"kube-apiserver":          component(func() *cobra.Command { return apiserver.NewAPIServerCommand() }),
	"kube-controller-manager": component(manager.NewControllerManagerCommand),
	"kube-proxy":              component(func() *cobra.Command { return proxy.NewProxyCommand() }),
	"kube-scheduler":          component(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kubeadm":                 runKubeadm,
	"kubectl":                 runKubectl,
}

// component runs a long-lived server and ends with its exit code. The command is built only when it is
// asked for: building all seven costs start-up time that kubectl would feel.
func component(build func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(build())) }
}

func runKubeadm() {
	// kubeadm offers every flag of the process-wide set; the other programs' flags are none of its own.
	flag.CommandLine = flag.NewFlagSet("kubeadm", flag.ExitOnError)
	kubeadmerrors.HandleError(kubeadm.Run())
}

func runKubectl() {
	if _, err := logs.GlogSetter(cmd.GetLogVerbosity(os.Args)); err != nil {
		fmt.Fprintln(os.Stderr, "kubectl: cannot set the log verbosity:", err)
	}
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		cmdutil.CheckErr(err)
	}
}

func main() {
	run, known := programs[filepath.Base(os.Args[0])]
	if !known {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "%s is called by the name of one of its programs, through a link: %s\n", os.Args[0], strings.Join(names, ", "))
		os.Exit(64)
	}
	run()
}
