package cni

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// Most networks' plugins only pass on what their daemon on the node, or the API server, tells them. Where these do not, the plugin and its
// configuration are all right. The vocabulary has no cause of its own for that: the nearest is told, with what was seen in its words.
var (
	overSocket  = regexp.MustCompile(`dial unix @?(/[^\s:"\\]+): connect: ([a-z ]+)`)
	overPort    = regexp.MustCompile(`dial tcp (127\.0\.0\.1|\[::1\]|localhost):(\d+): (?:connect: )?([a-z/ ]+)`)
	toAPIServer = regexp.MustCompile(`(?:Get|Post|Put|Patch) \\*"?https://(?:\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s/"\\\]]+)/apis?/[^"\s]*"?: (.*)`)
	dialled     = regexp.MustCompile(`dial tcp (\S+:\d+): (?:connect: )?([a-z/ ]+)`)
	// unresolved is a name that the node's resolver does not know, or that it does not answer for.
	unresolved = regexp.MustCompile(`dial tcp: lookup (\S+?)(?: on (\S+))?: (?:read udp \S+: )?(no such host|i/o timeout|server misbehaving|Temporary failure in name resolution|[a-z ]*connection refused)`)
	// unwritten are files that daemons write when they have begun their work.
	unwritten = regexp.MustCompile(`(?:open|stat) (/run/flannel/subnet\.env|/var/lib/calico/nodename|/[^\s:"\\]*kubeconfig): no such file or directory`)
	// refusedBy is what the API server says to a plugin whose credential has ended, or whose account may not do what it has to.
	refusedBy = regexp.MustCompile(`connection is unauthorized|: Unauthorized\b|the server has asked for the client to provide credentials|is forbidden: User \\*"[^"]*"`)
	// otherBridge is the bridge plugin's word for one that is there with another network's address (plugins/main/bridge/bridge.go).
	otherBridge = regexp.MustCompile(`\\*"([\w.-]+)\\*" already has an IP address different from ([0-9a-fA-F.:/]+)`)
	// noProgram is a program that a plugin runs and that is not there, noTable a part of the kernel that iptables needs.
	noProgram = regexp.MustCompile(`exec: \\*"([^"\\]+)\\*": executable file not found`)
	noTable   = regexp.MustCompile("can't initialize (ip6?tables) table [`'](\\w+)'")
	ofPlugin  = regexp.MustCompile(`plugin type=\\*"([^"\\]+)|to (?:CNI )?network \\*"([^"\\]+)|(Multus|multus)[: ]`)
	// unanswered is a request to a daemon on the node that was sent, and not answered.
	unanswered = regexp.MustCompile(`(?:Get|Post|Put) \\*"http://(localhost|127\.0\.0\.1|\[::1\]|dummy|pipe)(?:[:/][^\s"\\]*)?\\*": ([^\n"\\]+)`)
	// noAnswer is how Go says it of one to the API server, byProxy what it makes of a proxy's refusal: the status without its number.
	noAnswer = regexp.MustCompile(`TLS handshake timeout|context deadline exceeded|Client\.Timeout|\bEOF\b|connection reset|http2: client connection lost`)
	byProxy  = regexp.MustCompile(`^(?:proxyconnect tcp: .*|(?:Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?out|Proxy Authentication Required|Not Found|Method Not Allowed)\b)`)
	// unready is Multus' word for a default network whose configuration is not written (pkg/multus/multus.go).
	unready = regexp.MustCompile(`(?i)readinessindicatorfile @ (/\S+?)\.? pollimmediate`)
)

// excuses are the words of networks for a daemon that is asked, and does not do its part.
var excuses = []struct{ says, what string }{
	{words.CiliumNoEndpoint, "its agent makes no endpoint for the pod"},
	{words.AWSNotAdded, "its daemon adds no network"},
	{words.AzureStoreLocked, "another call holds its store"},
	{words.OVNNotBound, "OVN binds no port for the pod"},
	{words.WhereaboutsNoLeader, "nobody lets it have the lease that it gives addresses under"},
	{words.KubeOVNNotServed, "its daemon does not make the pod's interface"},
	{words.CalicoNotMade, "its agent has not made the ClusterInformation that it looks for"},
}

// missing are words of plugins for what they do not find on the node; the first group of each is what.
var missing = []struct {
	says                *regexp.Regexp
	cause, what, advise string
}{
	{regexp.MustCompile("Couldn't load (?:match|target) [`'](\\w+)'"), "plugin-binary-missing", "iptables has not its extension %s, or the kernel not the module",
		"load the module (`modprobe xt_%s`, and after an update of the kernel reboot, since its modules come with that), and see that iptables' extensions are installed"},
	{regexp.MustCompile(`Extension (\w+) revision \d+ not supported, missing kernel module`), "plugin-binary-missing", "the kernel has not the module of iptables' extension %s",
		"load the module (`modprobe xt_%s`), or reboot after an update of the kernel, since its modules come with that"},
	{regexp.MustCompile("table [`'](\\w+)' is incompatible, use 'nft' tool"), "plugin-binary-missing", "iptables cannot read the table %s, in which somebody made rules with nft",
		"see them by `nft list table ip %s`, and have whoever made them use a table of another name"},
	{regexp.MustCompile(`(add \\*"[\w.-]+|make veth pair|create host veth)\\*"?: operation not supported`), "plugin-binary-missing", "the kernel does not do it (%s)",
		"load the kernel's module (`modprobe bridge veth vxlan`), or reboot after an update of the kernel, since its modules come with that"},
	{regexp.MustCompile(words.NoMaster + ` \\*"([^"\\]*)\\*": Link not found`), "conflist-invalid", "this node has no interface %q, which its network names as master",
		"name an interface that this node has (`ip link`) in the NetworkAttachmentDefinition or configuration of that network, or keep its pods on nodes that have it"},
	{regexp.MustCompile(`add IP addr .*(Version:6) .*permission denied`), "conflist-invalid", "the network gives addresses of IPv6, which is off on this node (%s)",
		"`sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.default.disable_ipv6`: put both on 0, or have the network give addresses of IPv4 alone"},
	{regexp.MustCompile(`to bridge ([\w.-]+): exchange full`), "ipam-exhausted", "the bridge %s takes no more ports (the kernel has 1023 for each)",
		"fewer pods on this node, and a look at what pods left behind: `bridge link` against the pods that run"},
	{regexp.MustCompile(`netplugin failed with no error message: (signal: killed)`), "plugin-binary-missing", "it ends without a word (%s)",
		"see the kernel's log for whom it killed for memory, and the memory limit of the runtime's unit, under which its plugins run"},
	{regexp.MustCompile(`(?s)netplugin failed.*?((?:panic|fatal error): [^\n"\\]+)`), "plugin-binary-missing", "it crashes (%s)", crashes},
	{regexp.MustCompile(`netplugin failed with no error message: ((?:signal: [a-z]+|exit status)[a-z0-9 ()]*)`), "plugin-binary-missing", "it ends without a word (%s)", crashes},
}

// crashes is what a person does about a plugin that ends by a fault of its own.
const crashes = "the program itself is at fault, or what it is told: compare its version with its agent's, which copies it to the node when it starts, see the plugin's own log (Calico: /var/log/calico/cni/cni.log) for where it ended, and take a release of the network in which it does not"

// unserved: a network plugin runs, and who it asks does not serve it.
func unserved(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	for _, a := range answers(h) {
		if !a.repeats {
			continue // its daemon may have been restarted just then
		}
		name := "the network plugin"
		if all := ofPlugin.FindAllStringSubmatch(a.message, -1); len(all) > 0 {
			i := max(0, slices.IndexFunc(all, func(m []string) bool { return m[1] != "" })) // its type says more than the network's name
			name += " " + strings.ToLower(strings.Join(all[i][1:], ""))
		}
		f := unservedBy(o, name, a.message)
		if f == nil {
			continue
		}
		f.Certainty, f.Evidence = v1alpha1.Likely, []v1alpha1.Evidence{a.evidence}
		for _, p := range facts.MountersOf(o, confDir(o)) {
			for _, c := range facts.Containers(p) {
				if state := c.Status.State; !c.Init && !c.Status.Ready && (state.Waiting != nil || state.Terminated != nil) {
					f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", c.Where()+", which mounts "+confDir(o)+", does not run"))
				}
			}
		}
		return f
	}
	return nil
}

// unservedBy reads who did not serve the plugin, nil where its message does not tell.
func unservedBy(o *v1alpha1.Observation, name, message string) *v1alpha1.Finding {
	daemon := func(what string) *v1alpha1.Finding {
		return &v1alpha1.Finding{Cause: "plugin-binary-missing", Summary: name + " is there, but " + what + ": new pods get no network, running ones go on",
			ToConfirm:    "whether the network's own pod on this node runs and what it logs (`kubectl get pods -A -o wide --field-selector spec.nodeName=" + detectors.Quote(o.Node) + "`)",
			ManualAction: "look at the network's agent on this node: why it does not run or serve; the plugin asks it for every pod"}
	}
	if m := overSocket.FindStringSubmatch(message); m != nil {
		return daemon("its daemon is not reached at " + m[1] + " (" + strings.TrimSpace(m[2]) + ")")
	}
	if m := overPort.FindStringSubmatch(message); m != nil {
		return daemon("its daemon is not reached at " + m[1] + ":" + m[2] + " (" + strings.TrimSpace(m[3]) + ")")
	}
	if m := unwritten.FindStringSubmatch(message); m != nil {
		return daemon("its daemon has not written " + m[1])
	}
	if m := unready.FindStringSubmatch(message); m != nil {
		f := daemon("the default network has not written its configuration " + m[1])
		f.Cause = "conflist-missing"
		return f
	}
	for _, e := range excuses {
		if _, reason, ok := strings.Cut(message, e.says[1:]); ok { // Cilium begins it with a large letter as well
			reason, _, _ = strings.Cut(reason, `" pod="`) // what the kubelet's line has behind the error
			return daemon(e.what + " (" + facts.Short(strings.TrimRight(e.says+reason, `\" `)) + ")")
		}
	}
	if m := unanswered.FindStringSubmatch(message); m != nil {
		return daemon("its daemon does not answer it at " + m[1] + " (" + m[2] + ")")
	}
	if f := unaided(name, message); f != nil {
		return f
	}
	return unservedByAPI(o, name, message)
}

// unservedByAPI reads what keeps a plugin from the API server, or from another server of its network, nil where its message does not tell.
func unservedByAPI(o *v1alpha1.Observation, name, message string) *v1alpha1.Finding {
	asked := toAPIServer.FindStringSubmatch(message)
	if reach := o.Kubelet.Kubeconfig.Reach; asked != nil && (facts.Silent(o) || reach != "" && reach != "ok") {
		return nil // the kubelet does not reach it either: that is another failure
	}
	api := func(what, todo string) *v1alpha1.Finding {
		return &v1alpha1.Finding{Cause: "conflist-invalid", Summary: name + " works with the API server, and " + what + ": new pods get no network, running ones go on",
			ToConfirm: "what the kubeconfig below " + confDir(o) + " that the plugin uses has for server, CA and credential", ManualAction: todo}
	}
	if m := dialled.FindStringSubmatch(message); asked == nil && m != nil {
		f := api("", "see that it runs and is reached from this node, and what the network's configuration names as its servers (for Calico with a store of its own: etcd_endpoints)")
		f.Summary, f.ToConfirm = name+" does not reach its server at "+m[1]+" ("+strings.TrimSpace(m[2])+"): new pods get no network, running ones go on", "what in "+confDir(o)+" names "+m[1]
		return f
	}
	if asked != nil {
		if m := byProxy.FindString(asked[1]); m != "" {
			proxy := cmp.Or(o.Runtime.Environment.HTTPSProxy, o.Runtime.Environment.HTTPProxy)
			return api("is sent to a proxy for it, which does not do it ("+strings.TrimSpace(m+" "+proxy)+")",
				"plugins have the runtime's environment: its NO_PROXY has to name the API server and the range of services (`systemctl show -p Environment -- "+detectors.Quote(facts.Runtime(o).UnitName())+"`), then restart the runtime")
		}
		if m := dialled.FindStringSubmatch(asked[1]); m != nil {
			return api("does not reach it at "+m[1]+" ("+strings.TrimSpace(m[2])+"), while the kubelet does",
				"the address is mostly that of the service kubernetes: see that kube-proxy, or what serves services here, runs on this node")
		}
		if m := unresolved.FindStringSubmatch(asked[1]); m != nil {
			return api("does not learn the address of "+m[1]+" ("+m[3]+")",
				"plugins run on the node and ask its resolver (/etc/resolv.conf), which knows no service of the cluster: have the plugin's kubeconfig name an API server that `getent hosts -- "+detectors.Quote(m[1])+"` finds on the node, or mend the node's resolver")
		}
		if facts.Has(asked[1], "certificate has expired", "is not yet valid") {
			return api("the certificate that it shows is not valid now", "see this node's clock (`timedatectl`), and what the address shows (`openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -dates`): the kubelet's own way to it works")
		}
		if strings.Contains(asked[1], "x509: ") {
			return api("does not trust its certificate", "the network's agent writes the plugin's kubeconfig when it starts: see that it has the cluster's CA")
		}
		if m := noAnswer.FindString(asked[1]); m != "" {
			return api("gets no answer of it ("+m+"), while the kubelet does", "the address is mostly that of the service kubernetes: see that what serves services here leads to API servers that answer, and that large packets pass (MTU)")
		}
	}
	if m := refusedBy.FindString(message); m != "" {
		return api("is refused by it ("+strings.Trim(m, ": ")+")",
			"the credential of the plugin's kubeconfig has ended, or its service account or role is gone: the network's agent writes a new one when it starts; its roles come with its manifest")
	}
	return nil
}

// unaided reads what a plugin does not find on the node for its work, nil where its message does not tell.
func unaided(name, message string) *v1alpha1.Finding {
	if m := otherBridge.FindStringSubmatch(message); m != nil {
		return &v1alpha1.Finding{Cause: "conflist-invalid", Summary: name + " finds its bridge " + m[1] + " with another address than the network gives this node (" + m[2] + "): new pods get no network",
			ToConfirm:    "`ip -4 addr show " + detectors.Quote(m[1]) + "` against the node's podCIDR",
			ManualAction: "the bridge is left of another network, or of a pod range before: drain the node, take the bridge away (`ip link delete " + detectors.Quote(m[1]) + "`), and the plugin makes it again; pods that are still on it lose their network"}
	}
	for _, w := range missing {
		if m := w.says.FindStringSubmatch(message); m != nil {
			say := func(text string) string {
				return strings.NewReplacer("%s", m[1], "%q", `"`+m[1]+`"`).Replace(text)
			}
			return &v1alpha1.Finding{Cause: w.cause, Summary: name + " is there, but " + say(w.what) + ": new pods get no network",
				ToConfirm: "whether it is so on the node: the message names it", ManualAction: say(w.advise)}
		}
	}
	lacks := func(what, todo string) *v1alpha1.Finding {
		return &v1alpha1.Finding{Cause: "plugin-binary-missing", Summary: name + " is there, but " + what + ": new pods get no network",
			ToConfirm: "whether it is on the node: the message names it", ManualAction: todo}
	}
	if m := noProgram.FindStringSubmatch(message); m != nil {
		return lacks("not the program "+m[1]+" that it runs", "install "+m[1]+" where the runtime's PATH leads: the plugin runs on the node itself")
	}
	if m := noTable.FindStringSubmatch(message); m != nil {
		return lacks("the kernel has not the table "+m[2]+" of "+m[1], "have the kernel's modules loaded ("+m[1]+"_"+m[2]+"; after an update of the kernel they come with a reboot), or use the iptables of nftables on this node")
	}
	return nil
}
