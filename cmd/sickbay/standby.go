package main

import (
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/npd"
)

func (a *app) standby() *cobra.Command {
	w := targetFlags{local: true}
	var o npd.StandbyOptions
	var name string
	var conditions bool
	cmd := &cobra.Command{
		Use:   "standby",
		Short: "Watch this node: metrics for Prometheus, and node conditions",
		Long: `Look at this node again and again, and publish what is found: as metrics in Prometheus' text format (/metrics), and with
--conditions as node conditions as node-problem-detector sets them, such as PLEGProblem. It ends with SIGTERM.

It runs on a node, or in a privileged pod with hostPID (--enter-host): docs/deploy/standby.yaml is a DaemonSet with its RBAC. It changes
nothing on the node.`,
		Example: `  sudo sickbay standby --listen 127.0.0.1:9254
  sickbay standby --enter-host --conditions --node "$NODE_NAME"   # in a pod, by its service account
  kubectl apply -f docs/deploy/standby.yaml`,
		Args: noArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&name, "node", "", "this node's Kubernetes name (default: its host name)")
	fl.StringVar(&o.Listen, "listen", ":9254", "address of /metrics and /healthz; it has no authentication")
	fl.DurationVar(&o.Every, "every", npd.DefaultEvery, "pause between two looks")
	fl.BoolVar(&conditions, "conditions", false, "write node conditions; takes patch of nodes/status")
	fl.BoolVar(&w.enterHost, "enter-host", false, "this is a privileged pod with hostPID: enter the node's namespaces")
	fl.StringVar(&w.kubeconfig, "kubeconfig", "", "read the API server with this file (default in a pod: its service account)")
	fl.StringVar(&o.State, "state", npd.DefaultState, "where looks are kept")
	fl.DurationVar(&w.since, "since", 10*time.Minute, "how far back to read logs and keep looks")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkEvery(o.Every); err != nil {
			return err
		}
		if name != "" {
			w.nodes = []string{name}
		}
		if _, _, err := net.SplitHostPort(o.Listen); err != nil {
			return usagef("--listen %q: it must be ADDRESS:PORT", o.Listen)
		}
		w.inCluster = w.kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
		if conditions && w.kubeconfig == "" && !w.inCluster {
			return usagef("--conditions needs --kubeconfig, or a pod with a service account")
		}
		s, err := a.target(cmd.Context(), w)
		if err != nil {
			return err
		}
		if o.Look = s.options; conditions {
			o.Kube = s.kube
		}
		o.Said = func(err error) { a.say("%s\n", message(err)) }
		return npd.Standby(cmd.Context(), s.Target, o)
	}
	return cmd
}
