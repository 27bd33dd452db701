// Package cni tells why a node cannot give pods a network: no configuration, one that cannot be loaded, a plugin that is not
// there, no address left, or bridged traffic that bypasses iptables.
//
// What the runtime says of its own last load decides over what lies in the directory: a file that is there and was never
// noticed helps nobody, and one that sorts after the configuration in use harms nobody.
package cni

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "cni", Needs: []string{v1alpha1.SourceStatus, v1alpha1.SourceCNI, v1alpha1.SourceNetwork}, Judge: judge})
}

// judge looks at the configuration first: what cannot be loaded has no plugins and no addresses.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	if f := config(h); f != nil {
		out = append(out, *f)
	} else {
		for _, judge := range []func(v1alpha1.History) *v1alpha1.Finding{binary, ipam, rejected} {
			if f := judge(h); f != nil {
				out = append(out, *f)
				break
			}
		}
	}
	if f := netfilter(h); f != nil {
		out = append(out, *f)
	}
	for i := range out {
		out[i].Failure, out[i].Node = "cni", o.Node
		out[i].Consequences = facts.Consequences(o)
	}
	return out
}

func confDir(o *v1alpha1.Observation) string {
	if o.CNI.ConfDir != "" {
		return strings.TrimRight(o.CNI.ConfDir, "/")
	}
	return "/etc/cni/net.d"
}

// networkReady is the runtime's own condition.
func networkReady(o *v1alpha1.Observation) (v1alpha1.Condition, bool) {
	for _, c := range o.Runtime.Conditions {
		if c.Type == "NetworkReady" {
			return c, true
		}
	}
	return v1alpha1.Condition{}, false
}

func config(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	c, known := networkReady(o)
	if known && c.Status {
		return nil
	}
	var ev []v1alpha1.Evidence
	if known {
		ev = append(ev, facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("NetworkReady=false %s: %s", c.Reason, c.Message)))
		if o.Runtime.LastCNILoad != "" && o.Runtime.LastCNILoad != "OK" {
			ev = append(ev, facts.Seen(o, v1alpha1.SourceStatus, "lastCNILoadStatus: "+o.Runtime.LastCNILoad))
		}
	} else {
		// The runtime does not answer: the kubelet's own last word counts if the Ready condition still carries it and the
		// directory agrees.
		cond, bad := facts.NotReady(o)
		if !bad || !strings.Contains(cond.Message, words.CniPluginNotInitialized) {
			return nil
		}
		ev = append(ev, facts.FromCondition(cond))
	}
	if _, unread := o.Unreadable(v1alpha1.SourceCNI); unread && o.Runtime.LastCNILoad == "" {
		return &v1alpha1.Finding{Cause: "conflist-missing", Certainty: v1alpha1.Likely, Evidence: ev,
			Summary: "the runtime has no network configuration", ToConfirm: "what lies in " + confDir(o),
			ManualAction: "the CNI directory could not be read"}
	}

	var broken, good []v1alpha1.CNIConfig
	for _, f := range o.CNI.Configs {
		if f.Error != "" {
			broken = append(broken, f)
		} else {
			good = append(good, f)
		}
	}
	load := o.Runtime.LastCNILoad
	invalid := facts.Has(load, words.InvalidCniConfig, words.FailedToLoadCNIConfig, "failed to convert CNI config", words.HasNoNetworks, "network type not found", "error parsing") ||
		len(broken) > 0 && !strings.Contains(load, words.NoNetworkConfigFound)
	switch {
	case invalid && (len(broken) > 0 || load != ""):
		return invalidConfig(o, ev, broken)
	case len(good) > 0:
		// The file is there and the runtime has not noticed it: its watch ignores files that are moved in, and ends when the
		// directory itself is replaced.
		names := make([]string, len(good))
		for i, g := range good {
			names[i] = g.Path
		}
		return &v1alpha1.Finding{
			Cause: "conflist-missing", Certainty: v1alpha1.Certain,
			Summary:  "the runtime has no network configuration: " + strings.Join(names, ", ") + " came into the directory without the runtime noticing",
			Evidence: append(ev, facts.Seen(o, v1alpha1.SourceCNI, strings.Join(names, ", ")+": can be loaded, and is not in use")),
			Remedy: facts.Place(o).NewRemedy("reload-conflist",
				detectors.Restart(o.Node, "containerd.service", "a new runtime process reads the directory at start; containers belong to their shims and go on"),
				detectors.WaitReady(o.Node)),
		}
	default:
		text := confDir(o) + " holds no configuration"
		if o.CNI.ConfDirError != "" {
			text = confDir(o) + ": " + o.CNI.ConfDirError
		}
		f := &v1alpha1.Finding{
			Cause: "conflist-missing", Certainty: v1alpha1.Certain,
			Summary:  "there is no CNI configuration in " + confDir(o) + ": the runtime cannot give any new pod a network",
			Evidence: append(ev, facts.Seen(o, v1alpha1.SourceCNI, text)),
		}
		steps, untouched := rewrite(o)
		if o.CNI.ConfDirError != "" && len(steps) > 0 {
			steps = slices.Insert(steps, 0, detectors.NodeStep(v1alpha1.Safe, o.Node, "the directory itself is missing", "mkdir", "-p", confDir(o)))
			steps = slices.Insert(steps, len(steps)-1, detectors.Restart(o.Node, "containerd.service", "the runtime's watch ended with the directory; a new process watches the new one"))
		}
		f.ManualAction, f.Remedy = untouched, facts.Place(o).NewRemedy("restore-conflist", steps...)
		return f
	}
}

// rewrite are the steps that have the network's own agent write the configuration again.
func rewrite(o *v1alpha1.Observation) (steps []v1alpha1.Step, untouched string) {
	if o.API == nil {
		return nil, "only the network's own agent knows the configuration, and without the API server its pod cannot be recreated: recreate the CNI DaemonSet's pod of this node"
	}
	agents := facts.MountersOf(o, confDir(o))
	if len(agents) == 0 {
		return nil, "no DaemonSet pod on this node mounts " + confDir(o) + ": install the network plugin again (kubectl apply of its manifest)"
	}
	for _, p := range agents {
		steps = append(steps, detectors.EvictPod(p.Namespace, p.Name, "the network's agent writes the configuration when it starts; it uses the host network, so it needs none to start"))
	}
	return append(steps, detectors.WaitReady(o.Node)), ""
}

func invalidConfig(o *v1alpha1.Observation, ev []v1alpha1.Evidence, broken []v1alpha1.CNIConfig) *v1alpha1.Finding {
	var names []string
	for _, b := range broken {
		names = append(names, b.Path)
		ev = append(ev, facts.Seen(o, v1alpha1.SourceCNI, b.Path+": "+b.Error))
	}
	f := &v1alpha1.Finding{
		Cause: "conflist-invalid", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary: "the CNI configuration cannot be loaded: " + facts.Short(o.Runtime.LastCNILoad),
	}
	if len(broken) == 0 {
		for _, c := range o.CNI.Configs {
			if strings.Contains(o.Runtime.LastCNILoad, c.Path) {
				broken, names = append(broken, c), append(names, c.Path)
			}
		}
	}
	if len(broken) == 0 {
		f.ManualAction = "which file is meant could not be told"
		return f
	}
	f.Summary = "the CNI configuration " + strings.Join(names, ", ") + " cannot be loaded"
	var steps []v1alpha1.Step
	for _, b := range broken {
		steps = append(steps, detectors.MoveAside(o.Node, b.Path, "the runtime refuses the whole directory for the sake of this file"))
	}
	if slices.ContainsFunc(o.CNI.Configs, func(c v1alpha1.CNIConfig) bool { return c.Error == "" && !slices.Contains(names, c.Path) }) {
		steps = append(steps, detectors.WaitReady(o.Node)) // the removal itself makes the runtime read the directory again
	} else {
		more, untouched := rewrite(o)
		if len(more) == 0 {
			f.ManualAction = untouched
			return f // without its agent the broken file is all there is: a person may repair it
		}
		steps = append(steps, more...)
	}
	f.Remedy = facts.Place(o).NewRemedy("replace-conflist", steps...)
	return f
}

// used is the configuration the runtime takes.
func used(o *v1alpha1.Observation) (v1alpha1.CNIConfig, bool) {
	for _, c := range o.CNI.Configs {
		if c.Used {
			return c, true
		}
	}
	for _, c := range o.CNI.Configs {
		if c.Error == "" {
			return c, true
		}
	}
	return v1alpha1.CNIConfig{}, false
}

func lacks(o *v1alpha1.Observation, c v1alpha1.CNIConfig) []string {
	var out []string
	for _, p := range c.Plugins {
		if p != "" && !slices.Contains(o.CNI.Binaries, p) {
			out = append(out, p)
		}
	}
	return out
}

// binary: a plugin of the configuration in use is not there, or cannot be run.
func binary(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	if _, unread := o.Unreadable(v1alpha1.SourceCNI); unread {
		return nil
	}
	c, ok := used(o)
	if !ok {
		return nil
	}
	gone := lacks(o, c)
	failure, failing := sandboxFailure(h, words.FailedToFindPlugin, "exec format error", "permission denied")
	if failing && len(gone) == 0 {
		// It is executable by its mode, and yet cannot be run: the name stands in `plugin type="ptp" failed (add)`.
		if _, after, ok := strings.Cut(failure.Message, `plugin type="`); ok && facts.Has(failure.Message, "exec format error", "permission denied") {
			name, _, _ := strings.Cut(after, `"`)
			if slices.Contains(c.Plugins, name) && strings.Contains(failure.Message, name+":") {
				gone = []string{name}
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var ev []v1alpha1.Evidence
	dirs := strings.Join(o.CNI.BinDirs, ", ")
	if dirs == "" {
		dirs = "/opt/cni/bin"
	}
	ev = append(ev, facts.Seen(o, v1alpha1.SourceCNI, fmt.Sprintf("%s needs %s; %s holds %s", c.Path, strings.Join(c.Plugins, ", "), dirs, strings.Join(o.CNI.Binaries, ", "))))
	if failing {
		ev = append(ev, failure.Evidence)
	}
	// Another file, all of whose plugins are there, waits behind this one: then this one is the stranger, not the binary.
	for _, other := range o.CNI.Configs {
		if other.Path != c.Path && other.Error == "" && len(other.Plugins) > 0 && len(lacks(o, other)) == 0 && other.Path > c.Path {
			return &v1alpha1.Finding{
				Cause: "conflist-invalid", Certainty: v1alpha1.Certain,
				Summary:  fmt.Sprintf("%s sorts before %s and hides it, and names plugins that are not there: %s", c.Path, other.Path, strings.Join(gone, ", ")),
				Evidence: ev,
				Remedy: facts.Place(o).NewRemedy("remove-shadow",
					detectors.MoveAside(o.Node, c.Path, "the file that hides the network's own configuration; the removal makes the runtime read the directory again")),
			}
		}
	}
	f := &v1alpha1.Finding{
		Cause: "plugin-binary-missing", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary: fmt.Sprintf("the CNI plugin %s of %s is missing or cannot be run: every new sandbox fails, running pods go on", strings.Join(gone, ", "), c.Path),
	}
	var steps []v1alpha1.Step
	for _, name := range gone {
		file := path.Join(binDir(o), name)
		i := slices.IndexFunc(o.Files, func(f v1alpha1.File) bool { return f.Path == file })
		if i >= 0 && o.Files[i].Exists && o.Files[i].SizeBytes > 4096 && !strings.Contains(o.Files[i].Mode, "x") {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "the plugin is there and not executable", "chmod", "0755", file))
			continue
		}
		steps = append(steps, detectors.RestoreStep(o.Node, file, "the plugin's binary comes back from the node's image; the kubelet retries within seconds"))
	}
	f.Remedy = facts.Place(o).NewRemedy("restore-plugin", steps...)
	return f
}

func binDir(o *v1alpha1.Observation) string {
	if len(o.CNI.BinDirs) > 0 {
		return o.CNI.BinDirs[0]
	}
	return "/opt/cni/bin"
}

// sandboxFailure is the newest sandbox that a CNI plugin failed, with one of the texts.
func sandboxFailure(h v1alpha1.History, texts ...string) (facts.CreateFailure, bool) {
	for _, f := range facts.CreateFailures(h) {
		if !f.Container && facts.Has(f.Message, words.SetupNetworkForSandbox, "network for pod", "plugin type=", words.FailedToFindPlugin) && facts.Has(f.Message, texts...) {
			return f, true
		}
	}
	return facts.CreateFailure{}, false
}

// ipam: the address range of the node is used up.
func ipam(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	failure, failing := sandboxFailure(h, "no IP addresses available in range set", "failed to allocate for range")
	for _, s := range o.CNI.IPAM {
		if s.Capacity <= 0 || s.Reserved < s.Capacity {
			continue
		}
		if !failing && s.Orphans <= 0 {
			continue // full of running pods, and nobody asks for more: a limit, not an illness
		}
		f := &v1alpha1.Finding{Cause: "ipam-exhausted", Certainty: v1alpha1.Certain,
			Summary: fmt.Sprintf("all %d addresses of %s are reserved", s.Capacity, s.Subnet),
			Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceCNI, fmt.Sprintf("%s: %d of %d addresses reserved, %d of them for containers the runtime does not know",
				s.Dir, s.Reserved, s.Capacity, max(s.Orphans, 0)))}}
		if failing {
			f.Evidence = append(f.Evidence, failure.Evidence)
		}
		if s.Orphans <= 0 {
			f.ManualAction = "every address belongs to a sandbox the runtime lists: fewer pods on this node, or a larger pod range for it"
			return f
		}
		f.Summary += fmt.Sprintf(", %d of them for containers that are gone", s.Orphans)
		f.Remedy = facts.Place(o).NewRemedy("release-addresses", detectors.ShellStep(v1alpha1.Safe, o.Node,
			"release every address whose container the runtime does not know: host-local keeps one file per address, with the container's id in its first line; a sandbox that is being made has its address before the runtime knows it, so the newest are looked at twice",
			releaseAddresses(s.Dir, making)))
		return f
	}
	if failing && !slices.ContainsFunc(o.CNI.IPAM, func(s v1alpha1.IPAMState) bool { return s.Capacity > 0 }) {
		return &v1alpha1.Finding{Cause: "ipam-exhausted", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{failure.Evidence},
			Summary: "the network plugin has no address left for a new pod", ToConfirm: "how many addresses are reserved, and for which containers: the IPAM plugin's own state",
			ManualAction: "the state of this IPAM plugin is not known to sickbay"}
	}
	return nil
}

// making is how many seconds after its address a sandbox that is being made is known to the runtime.
const making = 15

// releaseAddresses is a script that moves host-local's files aside for containers that the runtime does not know; where some are younger
// than so many seconds, only those that it still does not know that much later.
func releaseAddresses(dir string, seconds int) string {
	return fmt.Sprintf(`cd %[1]s
aside=%[3]s; mkdir -p "$aside"
orphans() {
  known=$(ctr -n k8s.io containers ls -q) && [ -n "$known" ] || return 1
  for f in *.*.*.* *:*; do
    [ -f "$f" ] || continue
    id=$(head -n1 "$f" | tr -d '\r')
    printf '%%s\n' "$known" | grep -qxF -- "$id" || printf '%%s %%s\n' "$f" "$id"
  done
}
was=$(orphans) || exit 1
if [ -n "$(find . -type f \( -name '*.*.*.*' -o -name '*:*' \) -newermt '%[2]d seconds ago')" ]; then
  sleep %[2]d
  is=$(orphans) || exit 1
else
  is=$was
fi
printf '%%s\n' "$was" | while read -r f id; do
  if printf '%%s\n' "$is" | grep -qxF -- "$f $id"; then mv -f -- "$f" "$aside/"; fi
done`, detectors.Quote(dir), seconds, detectors.Quote(dir+v1alpha1.Aside))
}

// rejected: the configuration loads, its plugins are there, and a plugin refuses what the configuration says.
func rejected(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	f, ok := sandboxFailure(h, "incompatible CNI versions", "unsupported CNI result version", "failed to load netconf", "failed to parse", "error parsing", "invalid CIDR", "missing field", "invalid range", "unmarshal", "IPAM plugin returned missing", "unknown IPAM", "must specify")
	if !ok {
		return nil
	}
	c, _ := used(o)
	out := &v1alpha1.Finding{Cause: "conflist-invalid", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{f.Evidence},
		Summary: "a network plugin refuses what " + c.Path + " tells it", ToConfirm: "the fields of " + c.Path + " that the message names"}
	for _, other := range o.CNI.Configs {
		if c.Path != "" && other.Path > c.Path && other.Error == "" && len(lacks(o, other)) == 0 {
			out.Remedy = facts.Place(o).NewRemedy("remove-shadow", detectors.MoveAside(o.Node, c.Path, "the file that hides "+other.Path))
			return out
		}
	}
	steps, untouched := rewrite(o)
	if c.Path == "" || len(steps) == 0 {
		out.ManualAction = untouched
		return out
	}
	steps = slices.Insert(steps, 0, detectors.MoveAside(o.Node, c.Path, "the configuration its plugin refuses; the next step has it written again"))
	out.Remedy = facts.Place(o).NewRemedy("replace-conflist", steps...)
	return out
}

// netfilter: pods hang on a bridge whose traffic bypasses iptables. With ptp plugins, as kind has them, the setting has no effect.
func netfilter(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	if _, unread := o.Unreadable(v1alpha1.SourceNetwork); unread || o.Network.BridgeNFCallIPTables == "1" {
		return nil
	}
	c, ok := used(o)
	if !ok || !slices.ContainsFunc(c.Plugins, func(p string) bool { return p == "bridge" || p == "flannel" }) {
		return nil
	}
	text, why := "net.bridge.bridge-nf-call-iptables is 0", "bridged pod traffic passes iptables again, and with it service addresses and policies"
	var steps []v1alpha1.Step
	if o.Network.BridgeNFCallIPTables == "" {
		text = "br_netfilter is not there: net.bridge.bridge-nf-call-iptables does not exist"
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "the module the setting belongs to", "modprobe", "br_netfilter"))
	}
	steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, why, "sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1"))
	return &v1alpha1.Finding{
		Cause: "bridge-netfilter-off", Certainty: v1alpha1.Certain,
		Summary:      "traffic between pods of this node and service addresses bypasses iptables: " + text + ", and " + c.Path + " puts pods on a bridge",
		Evidence:     []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceNetwork, text), facts.Seen(o, v1alpha1.SourceCNI, c.Path+" uses "+strings.Join(c.Plugins, ", "))},
		Remedy:       facts.Place(o).NewRemedy("bridge-netfilter-on", steps...),
		ManualAction: "what set it may set it again at the next boot: see `grep -r bridge-nf /etc/sysctl.conf /etc/sysctl.d`, write net.bridge.bridge-nf-call-iptables = 1 there and br_netfilter into /etc/modules-load.d",
	}
}
