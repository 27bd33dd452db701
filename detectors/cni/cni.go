// Package cni tells why a node cannot give pods a network: no configuration, one that cannot be loaded, a plugin that is not
// there, no address left, or bridged traffic that bypasses iptables.
//
// What the runtime says of its own last load decides over what lies in the directory: a file that is there and was never
// noticed helps nobody, and one that sorts after the configuration in use harms nobody.
package cni

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"

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
	return append(facts.First(h, config, binary, ipam, ungiven, unserved, rejected), facts.First(h, netfilter)...)
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

// emptyForCRIO tells that CRI-O's directory holds nothing that it could load. It follows the directory, and keeps no network that has gone
// from it (internal/config/cnimgr/cnimgr.go, pollUntilReady; ocicni's syncNetworkConfig).
func emptyForCRIO(o *v1alpha1.Observation) bool {
	_, unread := o.Unreadable(v1alpha1.SourceCNI)
	return facts.Runtime(o).Name == facts.CRIO && o.Looked(v1alpha1.SourceCNI) && !unread && len(o.CNI.Configs) == 0
}

// unconfigured is what tells that the runtime has no network configuration, nil where nothing does.
func unconfigured(o *v1alpha1.Observation) []v1alpha1.Evidence {
	c, known := networkReady(o)
	load := o.Runtime.LastCNILoad
	loaded := load == "" || load == "OK"
	switch {
	case !known:
		// The runtime does not answer: the kubelet's own last word counts if the Ready condition still carries it and the
		// directory agrees.
		if cond, bad := facts.NotReady(o); bad && facts.Has(cond.Message, noConfig...) {
			return []v1alpha1.Evidence{facts.FromCondition(cond)}
		}
		return nil
	case c.Status && emptyForCRIO(o):
		return []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, "NetworkReady=true, which CRI-O judges until it first has a network, and never again")}
	case c.Status || loaded && !facts.Has(c.Message, noConfig...):
		return nil // what else it says is a plugin's own answer
	}
	ev := []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("NetworkReady=false %s: %s", c.Reason, c.Message))}
	if !loaded {
		ev = append(ev, facts.Seen(o, v1alpha1.SourceStatus, "lastCNILoadStatus: "+load))
	}
	return ev
}

// sortedOut tells files that are in the runtime's way from those that it can load. It reads them in their order and ends at the first
// that it can load; of the broken ones, only one that it names, or that sorts before that, is in its way.
func sortedOut(files []v1alpha1.CNIConfig, load string) (broken, good []v1alpha1.CNIConfig) {
	named := func(f v1alpha1.CNIConfig) bool { return strings.Contains(load, f.Path) }
	names := slices.ContainsFunc(files, named)
	for _, f := range files {
		switch {
		case names && named(f), !names && f.Error != "" && len(good) == 0:
			broken = append(broken, f)
		case f.Error == "":
			good = append(good, f)
		}
	}
	return broken, good
}

func config(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	ev := unconfigured(o)
	if ev == nil {
		return nil
	}
	load := o.Runtime.LastCNILoad
	if _, unread := o.Unreadable(v1alpha1.SourceCNI); unread && load == "" {
		return &v1alpha1.Finding{Cause: "conflist-missing", Certainty: v1alpha1.Likely, Evidence: ev,
			Summary: "the runtime has no network configuration", ToConfirm: "what lies in " + confDir(o),
			ManualAction: "the CNI directory could not be read"}
	}
	broken, good := sortedOut(o.CNI.Configs, load)
	invalid := facts.Has(load, words.InvalidCniConfig, words.FailedToLoadCNIConfig, words.ConvertCNIConfig, words.HasNoNetworks, words.NetworkTypeNotFound, "error parsing") ||
		len(broken) > 0 && !strings.Contains(load, words.NoNetworkConfigFound)
	switch {
	case invalid && (len(broken) > 0 || load != ""):
		return invalidConfig(o, ev, broken, good)
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
				facts.RestartRuntime(o, "a new runtime process reads the directory at start"),
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
		was, _ := used(&h[0])
		steps, untouched := rewrite(o, was)
		if o.CNI.ConfDirError != "" && len(steps) > 0 {
			steps = slices.Insert(steps, 0, detectors.NodeStep(v1alpha1.Safe, o.Node, "the directory itself is missing", "mkdir", "-p", confDir(o)))
			steps = slices.Insert(steps, len(steps)-1, facts.RestartRuntime(o, "the runtime's watch ended with the directory; a new process watches the new one"))
		}
		f.ManualAction, f.Remedy = untouched, facts.Place(o).NewRemedy("restore-conflist", steps...)
		return f
	}
}

// noConfig is how the runtimes say that they have no network configuration: containerd, CRI-O (ocicni), cri-dockerd.
var noConfig = []string{words.CniPluginNotInitialized, "o CNI configuration file in", "cni config uninitialized"}

// generic are words in the names of configurations that are no network's own.
var generic = []string{"cni", "conf", "conflist", "net", "network", "host", "local", "ptp", "bridge", "portmap", "loopback", "ipam", "firewall", "tuning", "bandwidth", "default", "pod", "sbr", "vrf"}

// agents are the DaemonSet pods of this node that write a configuration: they mount the directory and have the network's name in theirs
// or in their images'.
func agents(o *v1alpha1.Observation, c v1alpha1.CNIConfig) []*corev1.Pod {
	file := strings.TrimSuffix(path.Base(c.Path), path.Ext(c.Path))
	tokens := strings.FieldsFunc(strings.ToLower(strings.Join(append([]string{file, c.Name}, c.Plugins...), " ")), func(r rune) bool { return !unicode.IsLetter(r) })
	tokens = slices.DeleteFunc(tokens, func(t string) bool { return len(t) < 3 || slices.Contains(generic, t) })
	var out []*corev1.Pod
	for _, p := range facts.MountersOf(o, confDir(o)) {
		if len(tokens) > 0 && facts.Has(called(p), tokens...) {
			out = append(out, p)
		}
	}
	return out
}

// called is a pod's name and its images'.
func called(p *corev1.Pod) string {
	text := p.Name
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		text += " " + c.Image
	}
	return strings.ToLower(text)
}

// chained agents put themselves before a network's configuration, and write none of their own.
var chained = []string{"multus", "istio", "linkerd", "whereabouts", "spiderpool", "bandwidth", "sriov"}

// rewrite are the steps that have the network's own agent write its configuration again.
func rewrite(o *v1alpha1.Observation, was v1alpha1.CNIConfig) (steps []v1alpha1.Step, untouched string) {
	if o.API == nil {
		return nil, "only the network's own agent knows the configuration, and without the API server its pod cannot be recreated: recreate the CNI DaemonSet's pod of this node"
	}
	pods := agents(o, was)
	if len(pods) == 0 {
		pods = facts.MountersOf(o, confDir(o))
		if own := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return facts.Has(p.Name, chained...) }); len(own) > 0 {
			pods = own
		}
	}
	if len(pods) == 0 {
		return nil, "no DaemonSet pod on this node mounts " + confDir(o) + ": install the network plugin again (kubectl apply of its manifest)"
	}
	for _, p := range pods {
		steps = append(steps, detectors.EvictPod(p.Namespace, p.Name, "the network's agent writes the configuration when it starts; it uses the host network, so it needs none to start"))
	}
	return append(steps, detectors.WaitReady(o.Node)), ""
}

func invalidConfig(o *v1alpha1.Observation, ev []v1alpha1.Evidence, broken, good []v1alpha1.CNIConfig) *v1alpha1.Finding {
	f := &v1alpha1.Finding{
		Cause: "conflist-invalid", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary: "the CNI configuration cannot be loaded: " + facts.Short(o.Runtime.LastCNILoad),
	}
	if len(broken) == 0 {
		f.ManualAction = "which file is meant could not be told"
		return f
	}
	var names []string
	var steps []v1alpha1.Step
	for _, b := range broken {
		names = append(names, b.Path)
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceCNI, b.Path+": "+cmp.Or(b.Error, "the runtime refuses it")))
		steps = append(steps, detectors.MoveAside(o.Node, b.Path, "the runtime refuses the whole directory for the sake of this file"))
	}
	f.Summary = "the CNI configuration " + strings.Join(names, ", ") + " cannot be loaded"
	// With the file aside the runtime takes the next one: right where that is the network whose agent runs here, and a foreign bridge
	// for every new pod where the broken one was.
	if len(agents(o, broken[0])) == 0 && len(good) > 0 && (len(agents(o, good[0])) > 0 || o.API == nil) {
		steps = append(steps, detectors.WaitReady(o.Node)) // the removal itself makes the runtime read the directory again
	} else {
		more, untouched := rewrite(o, broken[0])
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

// answer is what a network plugin said: to a runtime that makes a sandbox, or that asks for the network's state.
type answer struct {
	message  string
	evidence v1alpha1.Evidence
	repeats  bool // it was said before
}

// answers are the newest of each pod, and the state.
func answers(h v1alpha1.History) (out []answer) {
	o := h.Last()
	for _, f := range facts.CreateFailures(h) {
		if f.Container || !facts.Has(f.Message, words.SetupNetworkForSandbox, "network for pod", "plugin type=", "create pod network sandbox", words.FailedToFindPlugin) {
			continue
		}
		out = append(out, answer{f.Message, f.Evidence, repeats(h, f)})
		// OVN-Kubernetes' plugin only tells that it waited in vain; its control plane says on the pod what for.
		for _, e := range facts.Events(o, "Pod", f.Namespace, f.Pod, 10*time.Minute, "ErrorAddingLogicalPort", "ErrorAllocatingPod") {
			out = append(out, answer{e.Message, facts.FromEvent(&e), facts.EventCount(&e) > 1})
		}
	}
	if c, known := networkReady(o); known && !c.Status && !facts.Has(c.Message, noConfig...) {
		out = append(out, answer{c.Message, facts.Seen(o, v1alpha1.SourceStatus, fmt.Sprintf("NetworkReady=false %s: %s", c.Reason, c.Message)), true})
	}
	return out
}

// repeats tells that a pod's sandbox failed more than once lately. Each try is of another sandbox, so most events are of one.
func repeats(h v1alpha1.History, f facts.CreateFailure) bool {
	n := 0
	for _, e := range facts.Events(h.Last(), "Pod", f.Namespace, f.Pod, 10*time.Minute, "FailedCreatePodSandBox", "FailedCreatePodSandbox") {
		n += facts.EventCount(&e)
	}
	if h.Last().API == nil {
		for _, l := range facts.Lines(h, "kubelet", 10*time.Minute) {
			if strings.Contains(l.Text, words.CreatePodSandboxForPodFailed) && strings.Contains(l.Text, `pod="`+f.Namespace+"/"+f.Pod+`"`) {
				n++
			}
		}
	}
	return n > 1
}

// said is the first answer with one of the texts.
func said(h v1alpha1.History, texts ...string) (answer, bool) {
	list := answers(h)
	i := slices.IndexFunc(list, func(a answer) bool { return facts.Has(a.message, texts...) })
	if i < 0 {
		return answer{}, false
	}
	return list[i], true
}

var (
	notFound = regexp.MustCompile(words.FailedToFindPlugin + ` \\*"([^"\\]+)\\*" in path \[([^\]]*)\]`)
	notRun   = regexp.MustCompile(`fork/exec (/\S*/)([^/\s:"\\]+)\\*"?: (exec format error|permission denied)`)
)

// binary: a plugin is not there, or cannot be run: one that the configuration in use names, or that a plugin calls, or loopback, which
// the runtime calls for every sandbox.
func binary(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	c, _ := used(o)
	var gone, network []string
	var ev []v1alpha1.Evidence
	dir, why := cmp.Or(strings.Join(o.CNI.BinDirs, ", "), "/opt/cni/bin"), "missing"
	for _, a := range answers(h) {
		if m := notFound.FindStringSubmatch(a.message); m != nil {
			gone, dir = []string{m[1]}, strings.Join(strings.Fields(m[2]), ", ")
		} else if m := notRun.FindStringSubmatch(a.message); m != nil && strings.Contains(a.message, "plugin type=") {
			gone, dir, why = []string{m[2]}, path.Clean(m[1]), m[3]
		} else {
			continue
		}
		ev, network = append(ev, a.evidence), ofNetwork.FindStringSubmatch(a.message)
		break
	}
	_, unread := o.Unreadable(v1alpha1.SourceCNI)
	if unread && len(gone) == 0 {
		return nil
	}
	if lacks := lacks(o, c); !unread && len(o.CNI.BinDirs) > 0 && why == "missing" {
		if len(gone) == 0 || slices.Contains(lacks, gone[0]) {
			gone = lacks
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if network != nil && isAnother(o, c, network[1]) && !slices.Contains(c.Plugins, gone[0]) {
		return ofAnother(o, network[1], gone, dir, why, ev)
	}
	what := fmt.Sprintf("%s needs %s; %s holds %s", c.Path, strings.Join(c.Plugins, ", "), dir, strings.Join(o.CNI.Binaries, ", "))
	ev = slices.Insert(ev, 0, facts.Seen(o, v1alpha1.SourceCNI, what))
	if other, ok := hidden(o, c); ok && slices.Contains(c.Plugins, gone[0]) {
		return &v1alpha1.Finding{
			Cause: "conflist-invalid", Certainty: v1alpha1.Certain,
			Summary:  fmt.Sprintf("%s sorts before %s, whose agent runs on this node, and names plugins that are not there: %s", c.Path, other.Path, strings.Join(gone, ", ")),
			Evidence: append(ev, facts.Seen(o, "api.pods", "agent of "+other.Path+": pod "+agents(o, other)[0].Name)),
			Remedy: facts.Place(o).NewRemedy("remove-shadow",
				detectors.MoveAside(o.Node, c.Path, "the file that hides the network's own configuration; the removal makes the runtime read the directory again")),
		}
	}
	f := &v1alpha1.Finding{
		Cause: "plugin-binary-missing", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary: fmt.Sprintf("the CNI plugin %s is missing or cannot be run (%s): every new sandbox fails, running pods go on", strings.Join(gone, ", "), why),
	}
	restorePlugins(o, f, gone, dir, why)
	return f
}

// isAnother tells a network that Multus adds by a NetworkAttachmentDefinition, and that is none of the node's own.
func isAnother(o *v1alpha1.Observation, c v1alpha1.CNIConfig, network string) bool {
	return network != c.Name && !slices.ContainsFunc(o.CNI.Configs, func(f v1alpha1.CNIConfig) bool { return f.Name == network })
}

// ofAnother: the plugin is one of such a network.
func ofAnother(o *v1alpha1.Observation, network string, gone []string, dir, why string, ev []v1alpha1.Evidence) *v1alpha1.Finding {
	f := &v1alpha1.Finding{
		Cause: "plugin-binary-missing", Certainty: v1alpha1.Certain,
		Evidence: slices.Insert(ev, 0, facts.Seen(o, v1alpha1.SourceCNI, dir+" holds "+strings.Join(o.CNI.Binaries, ", "))),
		Summary:  fmt.Sprintf("the CNI plugin %s of the network %s is missing or cannot be run (%s): pods that ask for that network get no sandbox here, all others go on", gone[0], network, why),
	}
	restorePlugins(o, f, gone, dir, why)
	if f.Remedy == nil {
		f.ManualAction = fmt.Sprintf("deploy what installs %s on this node (its DaemonSet), have the NetworkAttachmentDefinition %s name a plugin that is there, or keep its pods on nodes that have it", gone[0], network)
	}
	return f
}

// hidden is a complete configuration behind the one in use, whose network's agent runs here while that one's does not: then the file in
// use is the stranger, not the binary.
func hidden(o *v1alpha1.Observation, c v1alpha1.CNIConfig) (v1alpha1.CNIConfig, bool) {
	if len(agents(o, c)) > 0 {
		return v1alpha1.CNIConfig{}, false
	}
	i := slices.IndexFunc(o.CNI.Configs, func(f v1alpha1.CNIConfig) bool {
		return f.Path > c.Path && f.Error == "" && len(f.Plugins) > 0 && len(lacks(o, f)) == 0 && len(agents(o, f)) > 0
	})
	if i < 0 {
		return v1alpha1.CNIConfig{}, false
	}
	return o.CNI.Configs[i], true
}

// restorePlugins brings plugins back from where they come: the mode, the network's agent, which copies its own when it starts, or the
// node's image.
func restorePlugins(o *v1alpha1.Observation, f *v1alpha1.Finding, gone []string, dirs, why string) {
	dir, _, _ := strings.Cut(dirs, ",")
	if i := slices.IndexFunc(o.Mounts, func(m v1alpha1.Mount) bool {
		return slices.Contains(m.Options, "noexec") && (m.Target == dir || strings.HasPrefix(dir, m.Target+"/"))
	}); i >= 0 && why == "permission denied" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceMounts, o.Mounts[i].Target+" is mounted noexec"))
		f.ManualAction = "nothing below " + o.Mounts[i].Target + " can be run, since it is mounted noexec: whoever hardened this node has to except it"
		return
	}
	var steps []v1alpha1.Step
	var evicted []string
	for _, name := range gone {
		file := strings.TrimRight(dir, "/") + "/" + name // not cleaned: a name that leads elsewhere shows
		i := slices.IndexFunc(o.Files, func(f v1alpha1.File) bool { return f.Path == file })
		if i >= 0 && o.Files[i].Exists && o.Files[i].SizeBytes > 4096 && !strings.Contains(o.Files[i].Mode, "x") {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "the plugin is there and not executable", "chmod", "0755", file))
			continue
		}
		token, _, _ := strings.Cut(name, "-")
		pods := facts.MountersOf(o, dir)
		if i := slices.IndexFunc(pods, func(p *corev1.Pod) bool {
			return !slices.Contains(generic, name) && strings.Contains(called(p), name) || len(token) > 2 && !slices.Contains(generic, token) && strings.Contains(called(p), token)
		}); i >= 0 {
			if !slices.Contains(evicted, pods[i].Name) {
				evicted = append(evicted, pods[i].Name)
				steps = append(steps, detectors.EvictPod(pods[i].Namespace, pods[i].Name, "the network's agent copies its plugins to the node when it starts"))
			}
			continue
		}
		if !o.Host.InContainer {
			f.ManualAction = fmt.Sprintf("put %s for %s into %s again: loopback, bridge, host-local and their like are of containernetworking/plugins (the package kubernetes-cni or containernetworking-plugins), others of their network", name, o.Host.Arch, dir)
			return
		}
		steps = append(steps, detectors.RestoreStep(o.Node, file, "the plugin's binary comes back from the node's image; the kubelet retries within seconds"))
	}
	f.Remedy = facts.Place(o).NewRemedy("restore-plugin", steps...)
}

// noAddress is how the networks say that they have none left.
var noAddress = []string{words.NoIPAddresses, words.CiliumNoMoreIPs, words.CiliumRangeIsFull, words.CalicoAssignedNone, words.CalicoBlockLimit, words.CalicoNoPools, words.CalicoNoPoolFits, words.AWSNoAddress, words.AzureNoAddress, words.AzureNoPools,
	words.CiliumPoolsExhausted, words.AzureCNSWaits, words.SpiderpoolUsedOut, words.WhereaboutsNoAddress, words.KubeOVNNoAddress, words.OVNExhausted}

// ipam: no address is left for a new pod.
func ipam(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	failure, failing := said(h, noAddress...)
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
			f.Evidence = append(f.Evidence, failure.evidence)
		}
		if s.Orphans < 0 {
			f.ManualAction = "whether their sandboxes are still there is not known: the runtime did not list them in this look (`" + facts.Here(o, "crictl pods") + "`); look again"
			return f
		}
		if s.Orphans == 0 {
			f.ManualAction = "every address belongs to a sandbox the runtime lists: fewer pods on this node, or a larger pod range for it"
			return f
		}
		f.Summary += fmt.Sprintf(", %d of them for containers that are gone", s.Orphans)
		f.Remedy = facts.Place(o).NewRemedy("release-addresses", releaseAddresses(o.Node, "release every address whose sandbox the runtime does not know: host-local keeps one file per address, with the sandbox's id in its first line; a sandbox that is being made has its address before the runtime knows it, so the newest are looked at twice",
			s.Dir, making, facts.Runtime(o), facts.Runtime(o).OwnClient(o)))
		return f
	}
	if !failing {
		return nil
	}
	return &v1alpha1.Finding{Cause: "ipam-exhausted", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{failure.evidence},
		Summary:      "the network has no address left for a new pod, as its plugin says",
		ManualAction: "see who has the addresses by the network's own means (calicoctl ipam check, cilium status, the subnet and the limits of the machine's interfaces in a cloud, whereabouts' ippools): fewer pods here, a larger range, or addresses released whose pods are gone"}
}

// ungiven: the network's control plane, which gives out the addresses, gave this pod none in time. Why stands in its log.
func ungiven(h v1alpha1.History) *v1alpha1.Finding {
	a, ok := said(h, words.OVNNotAnnotated, words.KubeOVNNotAllocated)
	if !ok || !a.repeats {
		return nil
	}
	return &v1alpha1.Finding{Cause: "ipam-exhausted", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{a.evidence},
		Summary:      "the network's control plane gives new pods no address: its plugin on this node waits for one in vain",
		ToConfirm:    "the log of the network's controller (ovnkube-control-plane, ovnkube-controller, kube-ovn-controller), and what of its subnet is free",
		ManualAction: "look at the network's controller: it does not run, does not see the pod, or has no address left for it"}
}

// making is how many seconds after its address a sandbox that is being made is known to the runtime.
const making = 15

// releaseAddresses moves host-local's files aside for sandboxes that the runtime does not know; where some are younger than so many
// seconds, only those that it still does not know that much later.
func releaseAddresses(node, why, dir string, seconds int, r facts.RuntimeOf, ctr string) v1alpha1.Step {
	return detectors.ShellStepOn(v1alpha1.Safe, node, why, r.CLI, `known() {
  if [ -n "$ctr" ]; then ctr --address "$ctr" --timeout 30s --namespace k8s.io containers ls --quiet; else "$@" --timeout=30s pods -q --no-trunc; fi
}
cd -- "$dir"
aside=$dir`+v1alpha1.Aside+`; mkdir -p -- "$aside"
orphans() {
  known=$(known "$@") && [ -n "$known" ] || return 1
  for f in *.*.*.* *:*; do
    [ -f "$f" ] || continue
    id=$(head -n1 -- "$f" | tr -d '\r')
    printf '%s\n' "$known" | grep -qxF -- "$id" || printf '%s %s\n' "$f" "$id"
  done
}
was=$(orphans "$@") || exit 1
if [ -n "$(find . -type f \( -name '*.*.*.*' -o -name '*:*' \) -newermt "$seconds seconds ago")" ]; then
  sleep "$seconds"
  is=$(orphans "$@") || exit 1
else
  is=$was
fi
printf '%s\n' "$was" | while read -r f id; do
  if printf '%s\n' "$is" | grep -qxF -- "$f $id"; then mv -f -- "$f" "$aside/"; fi
done`, detectors.V("dir", dir), detectors.V("ctr", ctr), detectors.V("seconds", strconv.Itoa(seconds)))
}

// refusals are how plugins say that they cannot use their configuration.
var refusals = []string{words.IncompatibleVersions, "unsupported CNI result version", words.FailedToLoadNetconf, "failed to parse", "error parsing", "invalid CIDR", "missing field", "invalid range", "unmarshal", words.IPAMReturnedMissing, words.NoIPRanges, "unknown IPAM", "must specify"}

// ofNetwork is the network that Multus had a plugin add, which is not always that of the configuration in use.
var ofNetwork = regexp.MustCompile(`error adding container to network \\*"([^"\\]+)\\*"`)

// rejected: the configuration loads, its plugins are there, and a plugin refuses what the configuration says. What a pod's annotation
// asks for is that pod's.
func rejected(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	list := answers(h)
	i := slices.IndexFunc(list, func(a answer) bool {
		return facts.Has(a.message, refusals...) && !facts.Has(strings.ToLower(a.message), "annotation")
	})
	if i < 0 {
		return nil
	}
	c, _ := used(o)
	if m := ofNetwork.FindStringSubmatch(list[i].message); m != nil && m[1] != c.Name {
		n := slices.IndexFunc(o.CNI.Configs, func(f v1alpha1.CNIConfig) bool { return f.Name == m[1] })
		if n < 0 {
			return &v1alpha1.Finding{Cause: "conflist-invalid", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{list[i].evidence},
				Summary:      "a network plugin refuses what the network " + m[1] + " tells it; the node's own configuration is not meant",
				ToConfirm:    "the configuration of " + m[1] + ": `kubectl get network-attachment-definitions -A`",
				ManualAction: "mend the NetworkAttachmentDefinition " + m[1] + ", or what of the pod goes with it (a device that it has to ask for in its resources)"}
		}
		c = o.CNI.Configs[n]
	}
	out := &v1alpha1.Finding{Cause: "conflist-invalid", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{list[i].evidence},
		Summary: "a network plugin refuses what " + c.Path + " tells it"}
	if !facts.Has(list[i].message, words.IncompatibleVersions) {
		out.Certainty, out.ToConfirm = v1alpha1.Likely, "the fields of "+c.Path+" that the message names"
	}
	if len(agents(o, c)) == 0 {
		for _, other := range o.CNI.Configs {
			if c.Path != "" && other.Path > c.Path && other.Error == "" && len(lacks(o, other)) == 0 && len(agents(o, other)) > 0 {
				out.Remedy = facts.Place(o).NewRemedy("remove-shadow", detectors.MoveAside(o.Node, c.Path, "the file that hides "+other.Path+", whose agent runs on this node"))
				return out
			}
		}
		out.ManualAction = "no agent on this node is seen to write " + c.Path + ": mend the fields that the message names"
		return out
	}
	steps, untouched := rewrite(o, c)
	if len(steps) == 0 {
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
	c, ok := used(o)
	key, value := "net.bridge.bridge-nf-call-iptables", o.Network.BridgeNFCallIPTables
	if ipv6Only(o, c) {
		key, value = "net.bridge.bridge-nf-call-ip6tables", o.Network.BridgeNFCallIP6Tables
	}
	if _, unread := o.Unreadable(v1alpha1.SourceNetwork); unread || value == "1" || !ok || !slices.ContainsFunc(c.Plugins, func(p string) bool { return p == "bridge" || p == "flannel" }) {
		return nil
	}
	text, why := key+" is 0", "bridged pod traffic passes iptables again, and with it service addresses and policies"
	var steps []v1alpha1.Step
	if value == "" {
		text = "br_netfilter is not there: " + key + " does not exist"
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "the module the setting belongs to", "modprobe", "br_netfilter"))
	}
	step := detectors.NodeStep(v1alpha1.Disruptive, o.Node, why+"; so does that of other bridges on this machine", "sysctl", "-w", key+"=1")
	if value != "" {
		step.Undo = "sysctl -w " + key + "=" + value
	}
	steps = append(steps, step)
	f := &v1alpha1.Finding{
		Cause: "bridge-netfilter-off", Certainty: v1alpha1.Certain,
		Summary:      "traffic between pods of this node and service addresses bypasses iptables: " + text + ", and " + c.Path + " puts pods on a bridge",
		Evidence:     []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceNetwork, text), facts.Seen(o, v1alpha1.SourceCNI, c.Path+" uses "+strings.Join(c.Plugins, ", "))},
		Remedy:       facts.Place(o).NewRemedy("bridge-netfilter-on", steps...),
		ManualAction: "what set it may set it again at the next boot: see `grep -r bridge-nf /etc/sysctl.conf /etc/sysctl.d`, write " + key + " = 1 there and br_netfilter into /etc/modules-load.d",
	}
	// Where something else than kube-proxy serves services, it may not need iptables.
	if !slices.ContainsFunc(facts.Pods(o), func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, "kube-proxy") }) {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether services are served by iptables on this node (kube-proxy's, or one inside the kubelet's own process as with k3s)"
	}
	return f
}

// ipv6Only tells that pods of this node have addresses of IPv6 alone.
func ipv6Only(o *v1alpha1.Observation, c v1alpha1.CNIConfig) bool {
	addrs := slices.Clone(c.Subnets)
	for _, p := range facts.Pods(o) {
		for _, ip := range append(p.Status.PodIPs, corev1.PodIP{IP: p.Status.PodIP}) {
			if ip.IP != "" {
				addrs = append(addrs, ip.IP)
			}
		}
	}
	return len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a string) bool { return !strings.Contains(a, ":") })
}
