// Package npd has node-problem-detector run the detectors: the configuration of its custom plugin monitor, and the check that
// its rules call on a node.
//
// It may know detectors, observations and how to look; it knows nothing of clusters, injectors or scenarios. Exit status and
// output follow NPD's convention for custom plugins:
// https://github.com/kubernetes/node-problem-detector/blob/master/pkg/custompluginmonitor/README.md.
package npd

import (
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
)

// ConfigOptions say what is written. Zero values take the defaults beside them.
type ConfigOptions struct {
	Failures []string // names of package failures; default all
	Sickbay  string   // path of sickbay on the node, its agent beside it; default /opt/sickbay/sickbay
	// Every is how often NPD has all rules checked; default 30s, as NPD's own. All rules of a round share one look.
	Every time.Duration
	// Kubeconfig on the node is a way to the API server, without which failures of pods are unknown.
	Kubeconfig string
	// EnterHost has the check leave the pod that NPD runs in, by nsenter into the namespaces of process 1. The pod needs
	// hostPID and a privileged security context.
	EnterHost bool
}

// Defaults of a configuration.
const (
	DefaultSickbay = "/opt/sickbay/sickbay"
	DefaultEvery   = 30 * time.Second
	// Timeout is what NPD gives a rule: a look takes at most 4 s, judging it some tenths, on a machine that is in trouble.
	Timeout = 10 * time.Second
	// MaxOutput is how many bytes of a message NPD keeps. Its default of 80 cuts a cause in two, its plugins' own bound is 4096.
	MaxOutput = 512
	// concurrency is NPD's default. One rule of a round looks, the others wait for its answer.
	concurrency = 3
)

// Config is a file for NPD's --config.custom-plugin-monitor.
type Config struct {
	Plugin           string       `json:"plugin"`
	PluginConfig     PluginConfig `json:"pluginConfig"`
	Source           string       `json:"source"`
	MetricsReporting bool         `json:"metricsReporting"`
	Conditions       []Condition  `json:"conditions"`
	Rules            []Rule       `json:"rules"`
}

// PluginConfig is for all rules.
type PluginConfig struct {
	InvokeInterval  string `json:"invoke_interval"`
	Timeout         string `json:"timeout"`
	MaxOutputLength int    `json:"max_output_length"` // bytes
	Concurrency     int    `json:"concurrency"`
	// UpdateOnMessage has a condition follow when the same failure gets another cause.
	UpdateOnMessage bool `json:"enable_message_change_based_condition_update"`
}

// Condition is the healthy state of a node condition, to which it returns.
type Condition struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Rule is one check.
type Rule struct {
	Type      string   `json:"type"`
	Condition string   `json:"condition"`
	Reason    string   `json:"reason"`
	Path      string   `json:"path"`
	Args      []string `json:"args"`
	Timeout   string   `json:"timeout"`
}

// NewConfig gives each failure a node condition of its own, False while it is absent, and a rule that checks it.
func NewConfig(o ConfigOptions) (Config, error) {
	if o.Sickbay == "" {
		o.Sickbay = DefaultSickbay
	}
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	if len(o.Failures) == 0 {
		for _, f := range failures.All() {
			o.Failures = append(o.Failures, f.Name)
		}
	}
	c := Config{
		Plugin: "custom", Source: "sickbay", MetricsReporting: true,
		PluginConfig: PluginConfig{
			InvokeInterval: o.Every.String(), Timeout: Timeout.String(), MaxOutputLength: MaxOutput, Concurrency: concurrency, UpdateOnMessage: true,
		},
	}
	for _, name := range o.Failures {
		f, ok := failures.Lookup(name)
		if !ok {
			return Config{}, fmt.Errorf("there is no failure %q", name)
		}
		problem := ConditionType(name)
		c.Conditions = append(c.Conditions, Condition{Type: problem, Reason: "No" + problem, Message: healthy(f)})
		command := []string{o.Sickbay, "npd", "check", name, "--every", o.Every.String()}
		if o.Kubeconfig != "" {
			command = append(command, "--kubeconfig", o.Kubeconfig)
		}
		if o.EnterHost {
			command = append([]string{"/usr/bin/nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"}, command...)
		}
		c.Rules = append(c.Rules, Rule{
			Type: "permanent", Condition: problem, Reason: problem, Path: command[0], Args: command[1:], Timeout: Timeout.String(),
		})
	}
	return c, nil
}

// healthy is what is said while a failure is absent.
func healthy(f failures.Failure) string { return "no sign of: " + f.Title }

// spelled are the words of failures' names that are not spelled as a word.
var spelled = map[string]string{"pleg": "PLEG", "cni": "CNI", "csi": "CSI", "oom": "OOM", "notready": "NotReady"}

// ConditionType is the node condition of a failure, such as PLEGProblem for pleg: never one that the kubelet sets itself.
func ConditionType(failure string) string {
	var b strings.Builder
	for _, w := range strings.Split(failure, "-") {
		if s, ok := spelled[w]; ok {
			w = s
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String() + "Problem"
}
