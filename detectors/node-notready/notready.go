// Package notready tells why a node does not report: its kubelet does not run, cannot read how to reach the API server, does
// not reach it, does not trust it, or has lost its Node object.
//
// The kubelet's last words are shared by several causes (words.UnableToLoadBootstrapKubeconfig follows a missing file, an
// expired certificate and a wrong clock alike), so files, dials and unit states decide.
package notready

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "node-notready", Needs: []string{v1alpha1.SourceUnits, v1alpha1.SourceJournal, v1alpha1.SourceCerts, v1alpha1.SourceKubeconfig}, Judge: judge})
}

// judge asks, nearest first: is there a kubelet, can it read its kubeconfig, does it reach and trust the server, is there a Node.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	k := facts.KubeletState(h)
	if !k.Known {
		return nil
	}
	for _, judge := range []func(v1alpha1.History, facts.Kubelet) *v1alpha1.Finding{kubeconfig, untrusted, unreachable, stopped, unregistered} {
		if f := judge(h, k); f != nil {
			f.Failure, f.Node = "node-notready", o.Node
			f.Consequences = facts.Consequences(o)
			return []v1alpha1.Finding{*f}
		}
	}
	return nil
}

// kubeletConf is where the kubelet looks for its kubeconfig.
func kubeletConf(o *v1alpha1.Observation) string {
	if o.Kubelet.Kubeconfig.Path != "" {
		return o.Kubelet.Kubeconfig.Path
	}
	if v, ok := facts.FlagValue(o, "kubeconfig"); ok {
		return v
	}
	return "/etc/kubernetes/kubelet.conf"
}

// kubeconfig: it is missing, unreadable, incomplete, or names a server that is none, and the kubelet suffers from it: one that runs has
// read it long ago and does not look again.
func kubeconfig(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if _, unread := o.Unreadable(v1alpha1.SourceKubeconfig); unread {
		return nil
	}
	if c.Path == "" && !c.Exists && c.Error == "" {
		return nil // not looked at
	}
	path := kubeletConf(o)
	var what string
	switch {
	case !c.Exists:
		what = path + " does not exist"
	case c.Error != "":
		what = path + ": " + c.Error
	case c.Server == "":
		what = path + " names no server"
	case badServer(o, c):
		what = path + " names the server " + c.Server + ", which is no address of this cluster's API server"
	case !k.Running && !k.Stopped && refusesUser(h):
		what = path + " names a user that the kubelet cannot use"
	default:
		return nil
	}
	asks, asking := asksFor(h, k, c)
	if k.Stopped && k.Unit.Result == "success" || k.Running && !facts.Silent(o) && !asking && !unregisteredNow(o) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "kubeconfig-broken", Certainty: v1alpha1.Certain,
		Summary:  "the kubelet cannot read how to reach the API server: " + what,
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceKubeconfig, what)},
	}
	if l, ok := facts.LastOf(h, "kubelet", facts.ExitFresh, words.UnableToLoadBootstrapKubeconfig, "invalid configuration", "unable to load kubeconfig", words.ErrorLoadingConfigFile, "couldn't get version/kind", words.FailedToRunKubelet, words.UnableToRegisterNode, words.FailedToUpdateLease, words.ErrorUpdatingNodeStatus); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if asking {
		f.Evidence = append(f.Evidence, facts.FromLine(asks))
	}
	f.Evidence = append(f.Evidence, unitEvidence(o, k))
	if facts.Has(c.Error, "certificate", "client-key", ".pem") && c.Exists && c.Server != "" && c.ClientCert != "" && !haveClientCert(o) {
		f.Remedy = facts.Place(o).NewRemedy("renew-client-cert",
			detectors.APIStep(v1alpha1.Safe, "the kubelet's client certificate is gone: the cluster signs it a new one", v1alpha1.APIAction{Verb: v1alpha1.VerbRenewClientCert, Object: &v1alpha1.ObjectRef{Kind: "Node", Name: o.Node}}),
			detectors.Restart(o.Node, "kubelet.service", "the kubelet reads its certificate at start"), detectors.WaitReady(o.Node))
		if o.API == nil {
			f.Remedy, f.ManualAction = nil, "the client certificate is gone: with access to the cluster, sign a new one or run `kubeadm join` again"
		}
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("rewrite-kubeconfig",
		detectors.EditFile(v1alpha1.Safe, o.Node, "write the kubeconfig again from what is on the node: the cluster's CA, the client certificate the kubelet rotates, and the server it joined", writeKubeconfig(h, path), path),
		detectors.Restart(o.Node, "kubelet.service", "the kubelet reads it only at start; pods go on"),
		detectors.WaitReady(o.Node))
	return f
}

// asksFor: a kubelet that runs has said since its start that it does not get through to the very server its kubeconfig names.
func asksFor(h v1alpha1.History, k facts.Kubelet, c v1alpha1.Kubeconfig) (v1alpha1.LogLine, bool) {
	u, err := url.Parse(c.Server)
	if err != nil || u.Host == "" {
		return v1alpha1.LogLine{}, false
	}
	l, ok := facts.LastLine(h, "kubelet", 30*time.Second, u.Host, "dial tcp")
	return l, ok && l.At.After(k.Unit.ActiveSince)
}

func haveClientCert(o *v1alpha1.Observation) bool {
	return slices.ContainsFunc(o.Certs, func(c v1alpha1.Certificate) bool { return c.Use == "kubelet-client" && c.Error == "" })
}

// badServer: the server is none of the names and addresses the API server is known by.
func badServer(o *v1alpha1.Observation, c v1alpha1.Kubeconfig) bool {
	if c.Reach == "ok" || c.Reach == "" || o.API == nil || len(o.API.Endpoints) == 0 || facts.Has(c.Reach, "tls") {
		return false
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Hostname() == "" {
		return true
	}
	return !slices.Contains(o.API.Endpoints, u.Hostname())
}

// refusesUser: the kubelet says that the kubeconfig's own content is the matter, beyond what a reader of the file can tell.
func refusesUser(h v1alpha1.History) bool {
	_, ok := facts.LastOf(h, "kubelet", facts.ExitFresh, "invalid configuration: [", "invalid configuration: no configuration", "no Auth Provider found", "context was not found", "unable to read client-cert", "unable to read client-key", "tls: failed to find any PEM data")
	return ok
}

// writeKubeconfig writes what the kubelet itself wrote when it joined, in the same form.
func writeKubeconfig(h v1alpha1.History, path string) string {
	server := ""
	for i := range h {
		if c := h[i].Kubelet.Kubeconfig; c.Server != "" && (c.Reach == "ok" || c.Reach == "" && c.Error == "") {
			server = c.Server
			break
		}
	}
	from := "server=" + detectors.Quote(server)
	if server == "" {
		from = `server=$(sed -nE 's/^ *apiServerEndpoint: *"?([^"]+)"?/\1/p' /kind/kubeadm.conf /etc/kubernetes/kubeadm-join.yaml 2>/dev/null | head -n1)
[ -n "$server" ] || server=$(sed -nE 's/^ *controlPlaneEndpoint: *"?([^"]+)"?/\1/p' /kind/kubeadm.conf 2>/dev/null | head -n1)
[ -n "$server" ] || { echo "no file on this node tells the API server's address" >&2; exit 1; }
case "$server" in https://*) ;; *) server=https://$server ;; esac`
	}
	return from + fmt.Sprintf(`
f=%s
pem=/var/lib/kubelet/pki/kubelet-client-current.pem
[ -s "$pem" ] || { echo "$pem is not there: the node has to be joined again (kubeadm join)" >&2; exit 1; }
umask 077
: > "$f"
k="kubectl config --kubeconfig=$f"
$k set-cluster default-cluster --server="$server" --certificate-authority=/etc/kubernetes/pki/ca.crt --embed-certs=true >/dev/null
$k set-credentials default-auth --client-certificate="$pem" --client-key="$pem" >/dev/null
$k set-context default-context --cluster=default-cluster --user=default-auth --namespace=default >/dev/null
$k use-context default-context >/dev/null`, detectors.Quote(path))
}

// reachFailing: the dial from the node fails, and not for this one moment: the kubelet does not report either, says so, or
// the look before failed as well.
func reachFailing(h v1alpha1.History, k facts.Kubelet) bool {
	o := h.Last()
	if facts.Silent(o) || k.Down() || unregisteredNow(o) {
		return true
	}
	_, says := complains(h)
	return says || failedBefore(h)
}

// failedBefore: the dial of the look before failed as well.
func failedBefore(h v1alpha1.History) bool {
	if len(h) < 2 {
		return false
	}
	before := h[len(h)-2].Kubelet.Kubeconfig.Reach
	return before != "" && before != "ok"
}

func complains(h v1alpha1.History) (v1alpha1.LogLine, bool) {
	return facts.LastOf(h, "kubelet", 30*time.Second, words.FailedToUpdateLease, words.ErrorUpdatingNodeStatus, words.UnableToRegisterNode, "Unable to update node status", words.FailedToEnsureLeaseExists, "Error getting node")
}

// untrusted: the server shows a certificate that does not verify against the CA the kubelet trusts.
func untrusted(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	wrong := c.Reach == "tls-untrusted" || c.Reach == "tls-name" || c.Reach == "ok" && c.Server != "" && c.CASHA256 != "" && !c.ServerCAMatches
	if !wrong || !c.Exists || c.Error != "" || !reachFailing(h, k) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "apiserver-untrusted", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the kubelet does not trust the API server %s: its certificate does not verify against the CA in %s (%s)", c.Server, kubeletConf(o), c.CASubject),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceKubeconfig, fmt.Sprintf("dial %s from the node: %s %s; CA in the kubeconfig: %s sha256 %.16s",
			c.Server, c.Reach, c.ReachError, c.CASubject, c.CASHA256))},
	}
	if l, ok := facts.LastOf(h, "kubelet", time.Minute, words.UnknownAuthority, "x509:"); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	f.Remedy = facts.Place(o).NewRemedy("trust-cluster-ca",
		detectors.EditFile(v1alpha1.Safe, o.Node, "put the cluster's CA into the kubeconfig: the node's own copy, or the one that its pods were given, whichever verifies the server", fmt.Sprintf(`f=%s
server=%s
found=
for ca in /etc/kubernetes/pki/ca.crt $(find /var/lib/kubelet/pods -path '*kube-api-access*' -name ca.crt 2>/dev/null); do
  code=0
  curl -s -o /dev/null --max-time 5 --cacert "$ca" "$server/livez" || code=$?
  if [ $code -eq 0 ]; then
    cluster=$(kubectl config --kubeconfig="$f" view -o jsonpath='{.clusters[0].name}')
    kubectl config --kubeconfig="$f" set-cluster "$cluster" --certificate-authority="$ca" --embed-certs=true
    found=yes
    break
  fi
done
[ -n "$found" ] || { echo "no CA on this node verifies $server" >&2; exit 1; }`, detectors.Quote(kubeletConf(o)), detectors.Quote(c.Server)), kubeletConf(o)),
		detectors.Restart(o.Node, "kubelet.service", "the kubelet reads it only at start; pods go on"),
		detectors.WaitReady(o.Node))
	return f
}

// justRenewed is within one renewal of the shortest lease (16 s, renewed every 4 s) and the Date header's coarseness.
const justRenewed = 5 * time.Second

// unreachable: connecting from the node fails, while the address is right.
func unreachable(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if !slices.Contains([]string{"refused", "timeout", "no-route", "dns", "other"}, c.Reach) || !c.Exists || c.Error != "" || !reachFailing(h, k) {
		return nil
	}
	if c.Reach == "other" && !facts.Silent(o) {
		return nil
	}
	// The kubelet has reached it a moment ago, so what came late is only this look's own dial: seen on a machine with a load of 19.
	if age, ok := facts.LeaseAge(o); ok && age < justRenewed && c.Reach == "timeout" {
		return nil
	}
	rules := rulesAgainst(o, c.Server)
	// Nor does one late dial tell why there is no kubelet: it does not end for want of a server.
	if c.Reach == "timeout" && k.Down() && len(rules) == 0 && !failedBefore(h) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "apiserver-unreachable", Certainty: v1alpha1.Certain,
		Summary:  fmt.Sprintf("the node cannot reach the API server %s (%s)", c.Server, c.Reach),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceKubeconfig, fmt.Sprintf("dial %s from the node: %s: %s", c.Server, c.Reach, c.ReachError))},
	}
	for _, r := range rules {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, r))
	}
	if o.Network.DefaultRoute == "" && c.Reach == "no-route" {
		if _, unread := o.Unreadable(v1alpha1.SourceNetwork); !unread {
			f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, "there is no default route"))
		}
	}
	if l, ok := complains(h); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if age, ok := facts.LeaseAge(o); ok {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.lease", fmt.Sprintf("renewed %s ago", age.Round(time.Second))))
	}
	var steps []v1alpha1.Step
	for _, r := range rules {
		if argv := facts.Unrule(r); argv != nil {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "this keeps the node from the API server", argv...))
		}
	}
	if line, step, ok := misled(o, c); ok {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, "/etc/hosts: "+line))
		steps = append(steps, step)
	}
	if c.Reach == "dns" && len(o.Network.Nameservers) == 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, "/etc/resolv.conf names no name server"))
		f.ManualAction = "/etc/resolv.conf names no name server, so no name means anything on this node: which one this network has is for its owner to say"
		return f
	}
	if len(steps) == 0 {
		if o.API == nil {
			f.Certainty = v1alpha1.Likely
			f.ToConfirm = "whether the API server answers anybody: `curl -k " + c.Server + "/livez` from another machine"
		}
		f.ManualAction = "nothing on the node explains it (no rule, no route): firewall, routing or the API server's own host have to be looked at"
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("open-api-path", append(steps, detectors.WaitReady(o.Node))...)
	return f
}

var dialled = regexp.MustCompile(`dial tcp \[?([0-9a-fA-F.:]+?)\]?:\d+:`)

// misled: a line of /etc/hosts gives the API server's name an address that the server does not have, and that is where this node
// went. The step takes the line out, in place: in a container the file is a mount and cannot be replaced.
func misled(o *v1alpha1.Observation, c v1alpha1.Kubeconfig) (line string, step v1alpha1.Step, ok bool) {
	u, err := url.Parse(c.Server)
	m := dialled.FindStringSubmatch(c.ReachError)
	if err != nil || m == nil || o.API == nil || slices.Contains(o.API.Endpoints, m[1]) {
		return "", step, false
	}
	i := slices.IndexFunc(o.Network.Hosts, func(line string) bool {
		f := strings.Fields(line)
		return f[0] == m[1] && slices.Contains(f[1:], u.Hostname())
	})
	if i < 0 {
		return "", step, false
	}
	return o.Network.Hosts[i], detectors.EditFile(v1alpha1.Safe, o.Node, fmt.Sprintf("%s is no address of the API server %s: without this line its name is resolved as everywhere", m[1], u.Hostname()),
		fmt.Sprintf(`new=$(awk -v a=%s -v n=%s '{ for (i = 2; i <= NF; i++) if ($1 == a && $i == n) next; print }' /etc/hosts)
printf '%%s\n' "$new" > /etc/hosts`, detectors.Quote(m[1]), detectors.Quote(u.Hostname())), "/etc/hosts"), true
}

// rulesAgainst are the rules that keep traffic from a server: those that name its address or port, and those for everything.
func rulesAgainst(o *v1alpha1.Observation, server string) []string {
	u, _ := url.Parse(server)
	var out []string
	for _, rule := range o.Network.RejectRules {
		if !rule.Outgoing() || rule.DefaultPolicy {
			continue
		}
		r := rule.Text
		names := u != nil && (u.Port() != "" && regexp.MustCompile(`\b`+u.Port()+`\b`).MatchString(r) || u.Hostname() != "" && strings.Contains(r, u.Hostname()))
		if !names && o.API != nil {
			names = slices.ContainsFunc(o.API.Endpoints, func(e string) bool { return e != "" && strings.Contains(r, e) })
		}
		general := !strings.Contains(r, "dport")
		if names || general {
			out = append(out, r)
		}
	}
	return out
}

var unknownFlag = regexp.MustCompile(`unknown flag: --([a-z0-9-]+)`)

// stopped: there is no working kubelet, and none of the causes above is why. Other failures that have it as a consequence
// (swap, cgroup v1, an expired certificate) cover this finding.
func stopped(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	if !k.Down() {
		return nil
	}
	u := k.Unit
	f := &v1alpha1.Finding{Cause: "kubelet-stopped", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{unitEvidence(o, k)}}
	var steps []v1alpha1.Step
	switch {
	case k.Halted:
		p, _ := facts.MainProcess(o, "kubelet")
		how := facts.HaltedHow(p)
		f.Summary = "the kubelet's process is there and does not run: it " + how
		f.Evidence = append([]v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceProcesses, fmt.Sprintf("kubelet (pid %d) %s", u.MainPID, how))}, f.Evidence...)
		if len(h) < 2 && !facts.Silent(o) && o.Kubelet.Healthz == "ok" {
			return nil
		}
		steps = facts.Wake(o, "kubelet")
	case u.LoadState == "not-found":
		f.Summary = "there is no kubelet.service on this node"
		if !o.Host.InContainer {
			f.ManualAction = "install the kubelet's package and its unit again"
			return f
		}
		unit := "/etc/systemd/system/kubelet.service" // where kind's images have it
		for i := range h {
			if was := h[i].Units["kubelet"].Fragment; was != "" {
				unit = was
			}
		}
		steps = append(steps, detectors.RestoreStep(o.Node, unit, "the unit's file comes back from the node's image"),
			detectors.NodeStep(v1alpha1.Safe, o.Node, "systemd reads it", "systemctl", "daemon-reload"),
			detectors.NodeStep(v1alpha1.Safe, o.Node, "pods go on meanwhile; the kubelet takes them over again", "systemctl", "start", "kubelet.service"))
	case k.Looping:
		f.Summary = "the kubelet exits at start, again and again"
		if k.Said {
			f.Evidence = append(f.Evidence, facts.FromLine(k.Exit))
			f.Summary += ": " + reason(k.Exit.Text)
		}
		steps, f.ManualAction = repair(o, k)
		if f.ManualAction != "" {
			if !k.Said {
				f.Certainty, f.ToConfirm = v1alpha1.Likely, "its last words: `journalctl -u kubelet -n 20`"
			}
			return f
		}
	default:
		f.Summary = fmt.Sprintf("the kubelet does not run: its unit is %s", u.ActiveState)
		if u.LoadState == "masked" {
			f.Summary = "the kubelet does not run: its unit is masked"
			steps = append(steps, changedByHand(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the unit is masked", "systemctl", "unmask", "kubelet.service"), "systemctl mask kubelet.service"))
		}
		if u.ExecMainStatus == 203 {
			steps = append(steps, detectors.RestoreStep(o.Node, "/usr/bin/kubelet", "systemd cannot execute the kubelet's binary (status 203)"))
		}
		if o.Kubelet.FileError != "" {
			f.Summary += ", and its configuration cannot be read: " + o.Kubelet.FileError
			steps = append(steps, clusterConfig(o))
		}
		if u.ActiveState == "failed" {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "forget the failed starts", "systemctl", "reset-failed", "kubelet.service"))
		}
		if k.Said && u.ActiveState == "failed" {
			f.Evidence = append(f.Evidence, facts.FromLine(k.Exit))
		}
		if u.UnitFileState == "disabled" {
			steps = append(steps, changedByHand(detectors.NodeStep(v1alpha1.Destructive, o.Node, "it would not come back at boot either", "systemctl", "enable", "kubelet.service"), "systemctl disable kubelet.service"))
		}
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "pods go on meanwhile; the kubelet takes them over again", "systemctl", "start", "kubelet.service"))
	}
	f.Remedy = facts.Place(o).NewRemedy("start-kubelet", append(steps, detectors.WaitReady(o.Node))...)
	return f
}

// changedByHand marks a step that takes back what somebody did to the kubelet's unit, perhaps for maintenance.
func changedByHand(s v1alpha1.Step, undo string) v1alpha1.Step {
	s.Undo = undo
	return detectors.Destructive(s, "somebody masked or disabled the kubelet, perhaps for maintenance")
}

// repair are the steps against what makes the kubelet exit, where that is plain.
func repair(o *v1alpha1.Observation, k facts.Kubelet) (steps []v1alpha1.Step, untouched string) {
	if k.Unit.ExecMainStatus == 203 {
		return []v1alpha1.Step{detectors.RestoreStep(o.Node, "/usr/bin/kubelet", "systemd cannot execute the kubelet's binary (status 203)"),
			detectors.Restart(o.Node, "kubelet.service", "start it again")}, ""
	}
	if m := unknownFlag.FindStringSubmatch(k.Exit.Text); k.Said && m != nil {
		return []v1alpha1.Step{
			dropFlag(o, m[1], "this kubelet has no flag --"+m[1]+": take it out of the files its flags come from"),
			detectors.Restart(o.Node, "kubelet.service", "start it with the flags that are left"),
		}, ""
	}
	if m := portTaken.FindStringSubmatch(k.Exit.Text); k.Said && m != nil {
		return nil, fmt.Sprintf("another program has port %s, which the kubelet serves (`ss -ltnp sport = :%s` names it): which of the two gets it is for its owner to say", m[1], m[1])
	}
	for _, f := range o.Files {
		if f.Immutable && strings.HasPrefix(f.Path, "/var/lib/kubelet") && k.Said && strings.Contains(k.Exit.Text, words.OperationNotPermitted) {
			steps = append(steps, facts.Mutable(o.Node, f.Path, "it is immutable (lsattr: i), and the kubelet writes there"))
		}
	}
	if len(steps) > 0 {
		return append(steps, detectors.Restart(o.Node, "kubelet.service", "start it again")), ""
	}
	if o.Kubelet.FileError != "" || k.Said && facts.Has(k.Exit.Text, configTexts...) || wrongEndpoint(o, k) {
		return []v1alpha1.Step{clusterConfig(o), detectors.Restart(o.Node, "kubelet.service", "start it with the configuration of the cluster")}, ""
	}
	return nil, "its last words name the reason; it has to be removed by hand"
}

var portTaken = regexp.MustCompile(`listen tcp \S*?:(\d+): bind: address already in use`)

// configTexts are last words about what only the kubelet's configuration can have told it.
var configTexts = []string{words.LoadKubeletConfigFile, "load Kubelet config file", words.ValidateKubeletConfiguration, words.ReservedCgroupLimits, "Reserved Compressible Cgroup Limits", "invalid configuration: cgroup"}

// wrongEndpoint: the configuration names a socket for the runtime that is not there, while the runtime runs and serves its own.
func wrongEndpoint(o *v1alpha1.Observation, k facts.Kubelet) bool {
	u := o.Units["containerd"]
	return k.Said && facts.Has(k.Exit.Text, words.RuntimeAPIForEndpoint, words.ValidateServiceConnection) && facts.Has(k.Exit.Text, words.NoSuchFileOrDirectory, words.ConnectionRefused) &&
		u.ActiveState == "active" && !facts.OwnSocket(o)
}

func clusterConfig(o *v1alpha1.Observation) v1alpha1.Step {
	// kubeadm makes a copy of the old file first, and fails where there is none.
	return detectors.EditFile(v1alpha1.Safe, o.Node, "its configuration cannot be used: take the cluster's own again (ConfigMap kubelet-config)",
		"[ -e /var/lib/kubelet/config.yaml ] || : > /var/lib/kubelet/config.yaml\nkubeadm upgrade node phase kubelet-config --kubeconfig="+kubeletConf(o), "/var/lib/kubelet/config.yaml")
}

var errText = regexp.MustCompile(`err="((?:[^"\\]|\\.)*)"`)

// reason takes the message out of a klog line.
func reason(text string) string {
	if m := errText.FindStringSubmatch(text); m != nil {
		return facts.Short(strings.ReplaceAll(m[1], `\"`, `"`))
	}
	return facts.Short(text)
}

func unitEvidence(o *v1alpha1.Observation, k facts.Kubelet) v1alpha1.Evidence {
	u := k.Unit
	return facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("kubelet: %s/%s, result %s, exit status %d, %d restarts", u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts))
}

// unregisteredNow: the API server answered to the end, and has no such node. A busy one may answer with its version and no more
// within the look's bound (seen live: seven nodes "deleted" at once).
func unregisteredNow(o *v1alpha1.Observation) bool {
	_, cutShort := o.Unreadable(v1alpha1.SourceAPI)
	return !cutShort && o.API != nil && !o.API.ServerDate.IsZero() && o.API.Node == nil
}

// unregistered: the kubelet runs and reaches the server, and what it reports for is no Node object: it goes by another name
// than its certificate, it was told not to register, or somebody deleted the object, and a kubelet registers at start only.
func unregistered(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	if !k.Running {
		return nil
	}
	if f := misnamed(h, k); f != nil {
		f.Evidence = append(f.Evidence, unitEvidence(o, k))
		return f
	}
	if o.At.Sub(k.Unit.ActiveSince) < registers || !unregisteredNow(o) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "not-registered", Certainty: v1alpha1.Certain,
		Summary:  "the kubelet runs, and the cluster has no Node object " + o.Node + ": somebody deleted it, and a kubelet registers only when it starts",
		Evidence: []v1alpha1.Evidence{facts.Seen(o, "api.node", "nodes \""+o.Node+"\" not found"), unitEvidence(o, k)},
	}
	if l, ok := facts.LastOf(h, "kubelet", time.Minute, words.UnableToRegisterNode, "Error getting node", "not found"); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if o.KubeletName() == "" {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the kubelet calls its node "+o.Node+": `openssl x509 -noout -subject` of its client certificate says system:node:NAME"
		f.ManualAction = "under which name the kubelet registers is not known: nothing is done to a node by a guess"
		return f
	}
	var steps []v1alpha1.Step
	if v, ok := facts.FlagValue(o, "register-node"); ok && v == "false" {
		f.Summary = "the kubelet runs with --register-node=false, and there is no Node object " + o.Node
		steps = append(steps, dropFlag(o, "register-node", "the kubelet may register its node again"))
	} else if c, source := facts.Config(o); c.RegisterNode != nil && !*c.RegisterNode {
		f.Summary = "the kubelet runs with registerNode: false, and there is no Node object " + o.Node
		f.Evidence = append(f.Evidence, facts.Seen(o, source, "registerNode: false"))
		steps = append(steps, facts.SetKubeletConfig(o, "the kubelet may register its node again", "registerNode", "true"))
	}
	f.Remedy = facts.Place(o).NewRemedy("register-again", append(steps,
		detectors.Restart(o.Node, "kubelet.service", "the kubelet registers its node at start"), detectors.WaitReady(o.Node))...)
	return f
}

// registers is how long a kubelet may take to register after its start: it tries again every seven seconds at most.
const registers = 20 * time.Second

// otherNode is what the API server answers a kubelet that asks as another node than its certificate's (plugin/pkg/auth/authorizer/node,
// plugin/pkg/admission/noderestriction): newer ones do not let it read either.
var otherNode = regexp.MustCompile(`node \\*["']([^"'\\]+)\\*["'] (?:is not allowed to modify node|cannot read) \\*["']([^"'\\]+)\\*["']`)

// misnamed: the kubelet calls its node otherwise than its certificate does, and may not register under that name.
func misnamed(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	line, said := facts.LastOf(h, "kubelet", time.Minute, "is not allowed to modify node", "only its own Node object")
	said = said && line.At.After(k.Unit.ActiveSince)
	if !said && (o.At.Sub(k.Unit.ActiveSince) < registers || !facts.Silent(o) && !unregisteredNow(o)) {
		return nil
	}
	own := ""
	for _, c := range o.Certs {
		if _, cn, ok := strings.Cut(c.Subject, "CN=system:node:"); ok && c.Use == "kubelet-client" {
			own, _, _ = strings.Cut(cn, ",")
			own, _, _ = strings.Cut(own, "+")
		}
	}
	name, flag := facts.FlagValue(o, "hostname-override")
	if m := otherNode.FindStringSubmatch(line.Text); said && m != nil {
		own, name = m[1], m[2]
	}
	if own == "" || name == "" || own == name {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "not-registered", Certainty: v1alpha1.Certain,
		Summary:  fmt.Sprintf("the kubelet wants to register node %s, and its certificate is for node %s: the API server refuses, and nobody reports for %s", name, own, o.Node),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceCerts, "the kubelet's client certificate is for system:node:"+own)},
	}
	var steps []v1alpha1.Step
	if flag {
		f.Evidence = append(f.Evidence, facts.Seen(o, "kubelet.flags", "--hostname-override="+name))
		steps = append(steps, dropFlag(o, "hostname-override", "the kubelet goes by the machine's own name again, for which it has its certificate"))
	} else {
		steps = append(steps, detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the machine has another name than when it joined", "hostnamectl", "set-hostname", own),
			"other software on this machine hears of its new name"))
	}
	if said {
		f.Evidence = append(f.Evidence, facts.FromLine(line))
	}
	f.Remedy = facts.Place(o).NewRemedy("register-by-own-name", append(steps,
		detectors.Restart(o.Node, "kubelet.service", "the kubelet registers its node at start; pods go on"), detectors.WaitReady(o.Node))...)
	return f
}

// dropFlag takes a flag out of the files that the kubelet's flags come from, its value with it, and no other flag that begins
// alike. It fails where none of them has it.
func dropFlag(o *v1alpha1.Observation, name, why string) v1alpha1.Step {
	files := []string{"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"}
	files = append(files, o.Units["kubelet"].DropIns...)
	if f := o.Units["kubelet"].Fragment; f != "" {
		files = append(files, f)
	}
	s := detectors.EditFile(v1alpha1.Safe, o.Node, why, dropFlagFrom(name, files), files...)
	s.Undo += "\nsystemctl daemon-reload"
	return s
}

func dropFlagFrom(name string, files []string) string {
	words := make([]string, len(files))
	for i, f := range files {
		words[i] = detectors.Quote(f)
	}
	// The kubelet has no arguments but flags: a word behind one is its value, unless it is a variable or the next flag.
	flag := `--` + name + `(=[^ "'\'']*| +[^- "'\''$\][^ "'\'']*)?([ "'\'']|$)`
	return fmt.Sprintf(`done=
for f in %[1]s; do
  [ -f "$f" ] && grep -Ev '^[[:space:]]*[#;]' "$f" | grep -Eq -- '%[2]s' || continue
  sed -i --follow-symlinks -E '/^[[:space:]]*[#;]/!s/ ?%[2]s/\2/g' "$f"
  done="$done $f"
done
[ -n "$done" ] || { echo "none of the files that the kubelet's flags come from has --%[3]s: see systemctl cat kubelet" >&2; exit 1; }
systemctl daemon-reload`, strings.Join(words, " "), flag, name)
}
