// A detector in Go that stays: it answers one line of JSON for each line it reads. It looks at nodes with the commands that the request brings,
// names three failures, and remedies one of them when it is asked to:
//
//	go build -o /tmp/mine ./suites/detector/examples/go
//	sickbay suite --only conflist-missing --only swap-on --detector exec+stay:/tmp/mine,act
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func main() {
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r v1alpha1.DetectorRequest
		if err := requests.Decode(&r); err != nil {
			return // the run has ended
		}
		if r.Act {
			for _, f := range r.Diagnosis.Findings {
				if f.Name() == "swap/swap-on" {
					on(r, f.Node, "swapoff", "-a")
					on(r, f.Node, "systemctl", "restart", "kubelet")
				}
			}
		}
		if err := answers.Encode(diagnose(r)); err != nil {
			return
		}
	}
}

// diagnose says what is wrong now. A node that does not answer is unknown, not well.
func diagnose(r v1alpha1.DetectorRequest) v1alpha1.Diagnosis {
	d := v1alpha1.Diagnosis{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindDiagnosis, Cluster: r.Cluster, Findings: []v1alpha1.Finding{}}
	for _, n := range r.Nodes {
		d.Nodes = append(d.Nodes, n.Name)
		if config, err := on(r, n.Name, "ls", "/etc/cni/net.d"); err != nil {
			d.Unknown = append(d.Unknown, v1alpha1.NodeUnknown{Node: n.Name, What: "node", Why: err.Error()})
			continue
		} else if config == "" {
			d.Findings = append(d.Findings, finding("cni", "conflist-missing", n.Name, "/etc/cni/net.d is empty"))
		}
		if state, _ := on(r, n.Name, "systemctl", "is-active", "kubelet"); state != "active" {
			// One that exits again and again is "activating" between two attempts.
			if swaps, _ := on(r, n.Name, "cat", "/proc/swaps"); strings.Contains(swaps, "\n") {
				d.Findings = append(d.Findings, finding("swap", "swap-on", n.Name, "kubelet.service is "+state+", and swap is on"))
			} else {
				d.Findings = append(d.Findings, finding("node-notready", "kubelet-stopped", n.Name, "kubelet.service is "+state))
			}
		}
	}
	d.Healthy = len(d.Findings)+len(d.Unknown) == 0
	return d
}

func finding(failure, cause, node, summary string) v1alpha1.Finding {
	return v1alpha1.Finding{Failure: failure, Cause: cause, Node: node, Certainty: v1alpha1.Certain, Summary: summary}
}

// on runs a command on a node.
func on(r v1alpha1.DetectorRequest, node string, argv ...string) (string, error) {
	for _, n := range r.Nodes {
		if n.Name == node && len(n.Exec) > 0 {
			out, err := exec.Command(n.Exec[0], append(n.Exec[1:], argv...)...).Output()
			return strings.TrimSpace(string(out)), err
		}
	}
	return "", fmt.Errorf("there is no way to node %s", node)
}
