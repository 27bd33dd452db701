// Package notready tells why a node does not report: its kubelet does not run, cannot read how to reach the API server, does
// not reach it, does not trust it, or has lost its Node object.
//
// The kubelet's last words are shared by several causes (words.UnableToLoadBootstrapKubeconfig follows a missing file, an
// expired certificate and a wrong clock alike), so files, dials and unit states decide.
package notready

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

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
	k := facts.KubeletState(h)
	if !k.Known {
		return nil
	}
	for _, judge := range []func(v1alpha1.History, facts.Kubelet) *v1alpha1.Finding{kubeconfig, untrusted, unreachable, refused, notTaken, stopped, unregistered} {
		if f := judge(h, k); f != nil {
			f.Consequences = facts.Consequences(h.Last())
			return []v1alpha1.Finding{*f}
		}
	}
	return nil
}

// kubeletConf is where the kubelet looks for its kubeconfig.
func kubeletConf(o *v1alpha1.Observation) string {
	if v, ok := facts.FlagValue(o, "kubeconfig"); ok {
		return v
	}
	if o.Kubelet.Kubeconfig.Path != "" {
		return o.Kubelet.Kubeconfig.Path
	}
	return "/etc/kubernetes/kubelet.conf"
}

// lookedAt tells whether the kubeconfig that was read is the one that the kubelet uses.
func lookedAt(o *v1alpha1.Observation) bool {
	c := o.Kubelet.Kubeconfig
	if _, unread := o.Unreadable(v1alpha1.SourceKubeconfig); unread || c.Path == "" && !c.Exists && c.Error == "" {
		return false
	}
	// Where a distribution's unit, or a snap, has its file is not known where the kubelet's flags are not.
	if _, told := facts.FlagValue(o, "kubeconfig"); !told && !c.Exists && c.Path == "/etc/kubernetes/kubelet.conf" && facts.KubeletUnitName(o) != "kubelet" {
		return false
	}
	return c.Path == "" || c.Path == kubeletConf(o)
}

// brokenConf says what is wrong with the kubeconfig, empty where nothing is; elsewhere where it leads to another server.
func brokenConf(h v1alpha1.History, k facts.Kubelet) (what string, elsewhere bool) {
	o := h.Last()
	c, path := o.Kubelet.Kubeconfig, kubeletConf(o)
	// What it serves with is another pair, in the same words.
	ends := !k.Running && !k.Stopped && !(k.Said && strings.Contains(k.Exit.Text, words.FailedToListenAndServe))
	switch {
	case !lookedAt(o):
		return "", false
	case !c.Exists:
		return path + " does not exist", false
	case c.Error != "":
		return path + ": " + c.Error, false
	case c.Server == "":
		return path + " names no server", false
	case badServer(o, k):
		return path + " names the server " + c.Server + ", which is no address of this cluster's control-plane nodes", true
	case ends && c.ClientCert == "" && c.Exec == "" && says(h, words.UnableToLoadBootstrapKubeconfig):
		// pkg/kubelet/certificate/bootstrap: a kubeconfig without a client certificate is not valid, so it wants to bootstrap.
		return path + " names no client certificate, and there is no bootstrap kubeconfig to get one with", false
	case ends && says(h, words.KeyDoesNotMatch):
		return "the client certificate that " + path + " names is not of the key beside it", false
	case ends && says(h, userTexts...):
		return path + " names a user that the kubelet cannot use", false
	}
	return "", false
}

// kubeconfig: it is missing, unreadable, incomplete, or names a server that is none, and the kubelet suffers from it: one that runs has
// read it long ago and does not look again.
func kubeconfig(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	what, elsewhere := brokenConf(h, k)
	asks, asking := asksFor(h, k, c)
	if what == "" || k.Stopped && k.Unit.Result == "success" && elsewhere || k.Running && !facts.Silent(o) && !asking && !unregisteredNow(o) {
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
	if facts.StoppedByHand(k.Unit) {
		f.Evidence = append(f.Evidence, stoppedByHand(o))
	}
	if elsewhere {
		f.Summary = "the kubelet does not find the API server: " + what
		if before, ok := servedBefore(h); ok {
			f.Evidence = append(f.Evidence, v1alpha1.Evidence{Source: v1alpha1.SourceKubeconfig, At: before.At, Text: "before: server " + before.Kubelet.Kubeconfig.Server})
		} else {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether "+c.Server+" is a load balancer before the control plane: controlPlaneEndpoint in `kubectl -n kube-system get configmap kubeadm-config -o yaml`, or the kubeconfig of another node"
		}
	}
	if badCert := facts.Has(c.Error, "certificate", "client-key", ".pem") && !rotates(o) || says(h, words.KeyDoesNotMatch); badCert && c.Exists && c.Server != "" && c.ClientCert != "" {
		renewCert(o, f)
	} else {
		rewrite(h, f)
	}
	return f
}

// unsigned: it has asked for its first certificate, as its bootstrap kubeconfig has it, and nobody has signed that.
func unsigned(h v1alpha1.History, f *v1alpha1.Finding) bool {
	o, k := h.Last(), facts.KubeletState(h)
	l, waits := facts.LastOf(h, "kubelet", 20*time.Minute, words.RequestNotSigned)
	if !waits || o.Kubelet.Kubeconfig.Exists || !o.Kubelet.Bootstrap.Exists || haveClientCert(o) || l.At.Before(k.Unit.ActiveSince) {
		return false
	}
	f.Summary = "the kubelet waits for its first certificate: it has asked for one, and nobody has signed the request"
	f.Evidence = append(f.Evidence, facts.FromLine(l))
	f.ManualAction = "see `kubectl get csr`, whether the request is this node's own, and approve it (`kubectl certificate approve NAME`); what approves them by itself (kube-controller-manager, a cloud's controller) may not run, or the bootstrap token's group may not be bound to it"
	return true
}

// renewCert gives the kubelet a client certificate with its key: another one of this node where there is one, else the cluster signs it.
func renewCert(o *v1alpha1.Observation, f *v1alpha1.Finding) {
	dir := certDir(o)
	link := current(o)
	step := detectors.APIStep(v1alpha1.Safe, "the cluster signs the kubelet a new client certificate; the key is made on the node and stays there", v1alpha1.APIAction{Verb: v1alpha1.VerbRenewClientCert, Object: &v1alpha1.ObjectRef{Kind: "Node", Name: o.Node}})
	if slices.ContainsFunc(o.Certs, func(c v1alpha1.Certificate) bool {
		return c.Use == "kubelet-client" && c.Error == "" && c.Path != link && strings.HasPrefix(c.Path, dir+"/") && facts.APINow(o).Before(c.NotAfter)
	}) {
		step = useMatching(o.Node, dir, link)
	} else if o.API == nil {
		f.ManualAction = "the client certificate cannot be used: with access to the cluster, sign a new one or run `kubeadm join` again"
		return
	}
	f.Remedy = facts.Place(o).NewRemedy("renew-client-cert", step, again(o, "the kubelet reads its certificate at start"), detectors.WaitReady(o.Node))
}

func certDir(o *v1alpha1.Observation) string {
	if o.Kubelet.CertDir != "" {
		return o.Kubelet.CertDir
	}
	return "/var/lib/kubelet/pki"
}

// useMatching links the newest certificate that is valid and has its own key beside it.
func useMatching(node, dir, link string) v1alpha1.Step {
	return detectors.ShellStep(v1alpha1.Safe, node, "another certificate of this kubelet is valid and has its key: use it", `good=
for c in "$dir"/kubelet-client-2*.pem; do
  if openssl x509 -in "$c" -noout -checkend 0 >/dev/null && [ "$(openssl x509 -in "$c" -noout -pubkey)" = "$(openssl pkey -in "$c" -pubout)" ]; then good=$c; fi
done
[ -n "$good" ] || { echo "no certificate in $dir is valid and has its key: the cluster has to sign a new one, or the node has to join again" >&2; exit 1; }
ln -sfn -- "$good" "$link"`, detectors.V("dir", dir), detectors.V("link", link))
}

// rewrite writes the kubeconfig again where it is one of kubeadm's. One that a cloud's bootstrap wrote, or whose user is a program,
// cannot be made of what is on the node.
func rewrite(h v1alpha1.History, f *v1alpha1.Finding) {
	if unsigned(h, f) {
		return
	}
	o := h.Last()
	path := kubeletConf(o)
	exec := slices.IndexFunc(h, func(o v1alpha1.Observation) bool { return o.Kubelet.Kubeconfig.Exec != "" })
	if path != "/etc/kubernetes/kubelet.conf" || exec >= 0 {
		f.ManualAction = "what joined this node to its cluster writes " + path + ": run it again, or take the file of another node of the same group"
		return
	}
	f.Remedy = facts.Place(o).NewRemedy("rewrite-kubeconfig",
		writeKubeconfig(h, path),
		again(o, "the kubelet reads it only at start; pods go on"),
		detectors.WaitReady(o.Node))
}

// refused: the API server answers the kubelet that it does not know it: a token that is not one, or a certificate that another CA signed.
func refused(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if !k.Running || !facts.Silent(o) && !unregisteredNow(o) {
		return nil
	}
	said := turnedAway(h, k)
	ended := func(c v1alpha1.Certificate) bool {
		return c.Use == "kubelet-client" && facts.APINow(o).After(c.NotAfter)
	}
	if _, unread := o.Unreadable(v1alpha1.SourceKubeconfig); unread || said == nil || c.ClientCert != "" && slices.ContainsFunc(o.Certs, ended) {
		return nil
	}
	with := "a token or no credential at all"
	switch {
	case c.Exec != "":
		with = "what " + c.Exec + " gives"
	case c.ClientCert != "":
		with = "the certificate in " + c.ClientCert
	}
	f := &v1alpha1.Finding{
		Cause: "kubeconfig-broken", Certainty: v1alpha1.Certain,
		Summary:  fmt.Sprintf("the API server does not know the kubelet by what %s has it say: user %s with %s", kubeletConf(o), c.User, with),
		Evidence: []v1alpha1.Evidence{facts.FromLine(*said), facts.Seen(o, v1alpha1.SourceKubeconfig, "user "+c.User+" with "+with), unitEvidence(o, k)},
	}
	if strings.Contains(said.Text, words.GettingCredentials) {
		f.Summary = fmt.Sprintf("the program by which %s has the kubelet get its credential gives none: %s", kubeletConf(o), reason(said.Text))
	}
	if _, unread := o.Unreadable(v1alpha1.SourceCerts); unread && c.Exec == "" {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether its certificate has ended: `openssl x509 -noout -dates -in "+current(o)+"`"
	}
	switch {
	case c.Exec != "":
		f.ManualAction = "run " + c.Exec + " on the node as the kubelet does, and look whether the cluster maps the identity that it gives to a node"
	case c.ClientCert != "" && strings.Contains(said.Text, words.Anonymous):
		f.Summary = "the kubelet's client certificate does not get to the API server, which takes it for nobody (system:anonymous)"
		f.ManualAction = "look whether what is between them ends TLS, as a load balancer or proxy before " + c.Server + " does that is not told to pass TCP through, and whether " + c.ClientCert + " is the certificate that is meant: `curl -sk --cert FILE --key FILE -- " + detectors.Quote(c.Server+"/api/v1/nodes/"+o.Node) + "` on the node"
	case c.ClientCert != "":
		renewCert(o, f)
	case haveClientCert(o):
		rewrite(h, f)
	default:
		f.ManualAction = "the node has no client certificate either: it has to join again (kubeadm join with a new token)"
	}
	return f
}

// turnedAway is the last line since its start in which the kubelet complains of its credential.
func turnedAway(h v1alpha1.History, k facts.Kubelet) (said *v1alpha1.LogLine) {
	for _, l := range facts.Lines(h, "kubelet", time.Minute) {
		if l.At.After(k.Unit.ActiveSince) && facts.Has(l.Text, complaints...) && facts.Has(l.Text, words.Unauthorized, words.ProvideCredentials, words.GettingCredentials, words.Anonymous) {
			said = &l
		}
	}
	return said
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

// current is where the kubelet keeps the client certificate that it rotates: a link.
func current(o *v1alpha1.Observation) string { return certDir(o) + "/kubelet-client-current.pem" }

// rotates tells that the certificate is there to which a kubeconfig leads that is written again.
func rotates(o *v1alpha1.Observation) bool {
	return slices.ContainsFunc(o.Certs, func(c v1alpha1.Certificate) bool {
		return c.Use == "kubelet-client" && c.Error == "" && c.Path == current(o)
	})
}

func haveClientCert(o *v1alpha1.Observation) bool {
	return slices.ContainsFunc(o.Certs, func(c v1alpha1.Certificate) bool { return c.Use == "kubelet-client" && c.Error == "" })
}

// renews is how often a kubelet renews its lease: one of so soon after its start may be its predecessor's.
const renews = 10 * time.Second

// badServer: the kubeconfig's server is none of the names and addresses of the control plane, and does not answer. That of a load
// balancer is none either: one by which the kubelet has reported since its start is right, and so is one that something on the node
// is seen to be in the way of.
func badServer(o *v1alpha1.Observation, k facts.Kubelet) bool {
	c := o.Kubelet.Kubeconfig
	if c.Reach == "ok" || c.Reach == "" || o.API == nil || len(o.API.Endpoints) == 0 || facts.Has(c.Reach, "tls") || proxied(o) != "" {
		return false
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Hostname() == "" {
		return true
	}
	if o.API.Lease != nil && o.API.Lease.Spec.RenewTime != nil && o.API.Lease.Spec.RenewTime.After(k.Unit.ActiveSince.Add(renews)) {
		return false
	}
	rules := rulesAgainst(o)
	return !slices.Contains(o.API.Endpoints, u.Hostname()) && len(rules.named)+len(rules.every) == 0
}

// servedBefore is an earlier look in which the kubeconfig named another server, which answered.
func servedBefore(h v1alpha1.History) (v1alpha1.Observation, bool) {
	now := h.Last().Kubelet.Kubeconfig.Server
	i := slices.IndexFunc(h, func(o v1alpha1.Observation) bool {
		c := o.Kubelet.Kubeconfig
		return c.Server != "" && c.Server != now && c.Reach == "ok"
	})
	if i < 0 {
		return v1alpha1.Observation{}, false
	}
	return h[i], true
}

// userTexts are last words of a kubelet that cannot use the kubeconfig's user, beyond what a reader of the file can tell.
var userTexts = []string{"invalid configuration: [", "invalid configuration: no configuration", words.NoAuthProvider, words.ContextNotFound, words.UnableToReadClientCert, words.UnableToReadClientKey, words.NoPEMData}

// says tells that a kubelet said so lately, and that none came past it since: it reads its kubeconfig before all else.
func says(h v1alpha1.History, texts ...string) bool {
	said, ok := facts.LastOf(h, "kubelet", facts.ExitFresh, texts...)
	past, went := facts.LastOf(h, "kubelet", facts.ExitFresh, words.MainSyncLoop)
	return ok && !(went && past.At.After(said.At))
}

// writeKubeconfig writes what the kubelet itself wrote when it joined, in the same form. The server is one that it was seen to reach,
// else the one that it joined by.
func writeKubeconfig(h v1alpha1.History, path string) v1alpha1.Step {
	server, wrong := "", ""
	for i := range h {
		if c := h[i].Kubelet.Kubeconfig; c.Server != "" && (c.Reach == "ok" || c.Reach == "" && c.Error == "") {
			server = c.Server
			break
		}
	}
	if now := h.Last().Kubelet.Kubeconfig; server == "" && now.Reach != "ok" {
		wrong = now.Server
	}
	return detectors.EditFile(v1alpha1.Safe, h.Last().Node, "write the kubeconfig again from what is on the node: the cluster's CA, the client certificate the kubelet rotates, and the server it joined", []string{path}, `f=$1
if [ -z "$server" ]; then
  server=$(sed -nE 's/^ *apiServerEndpoint: *"?([^"]+)"?/\1/p' /kind/kubeadm.conf /etc/kubernetes/kubeadm-join.yaml 2>/dev/null | head -n1)
  [ -n "$server" ] || server=$(sed -nE 's/^ *controlPlaneEndpoint: *"?([^"]+)"?/\1/p' /kind/kubeadm.conf 2>/dev/null | head -n1)
  [ -n "$server" ] || { echo "no file on this node tells the API server's address" >&2; exit 1; }
  case "$server" in https://*) ;; *) server=https://$server ;; esac
  [ "$server" != "$wrong" ] || { echo "the node joined by $server, too: what is in the way is not the kubeconfig" >&2; exit 1; }
fi
[ -s "$pem" ] || { echo "$pem is not there: the node has to be joined again (kubeadm join)" >&2; exit 1; }
ca=`+clusterCA+`
`+isClusterCA+`
umask 077
: > "$f"
k() { kubectl config --kubeconfig="$f" "$@"; }
k set-cluster default-cluster --server="$server" --certificate-authority="$ca" --embed-certs=true >/dev/null
k set-credentials default-auth --client-certificate="$pem" --client-key="$pem" >/dev/null
k set-context default-context --cluster=default-cluster --user=default-auth --namespace=default >/dev/null
k use-context default-context >/dev/null`, detectors.V("server", server), detectors.V("wrong", wrong), detectors.V("cas", strings.Join(clusterCAs(h.Last()), " ")), detectors.V("pem", current(h.Last())))
}

// reachFailing: the dial from the node fails, and not for this one moment: the kubelet does not report either, says so, or
// the look before failed as well.
func reachFailing(h v1alpha1.History, k facts.Kubelet) bool {
	o := h.Last()
	if facts.Silent(o) || k.Down() || unregisteredNow(o) {
		return true
	}
	_, says := complains(h)
	return says || failedBefore(h) && proxied(o) == ""
}

// failedBefore: the dial of the look before failed as well.
func failedBefore(h v1alpha1.History) bool {
	if len(h) < 2 {
		return false
	}
	before := h[len(h)-2].Kubelet.Kubeconfig.Reach
	return before != "" && before != "ok"
}

// complaints are what a kubelet says that does not get through.
var complaints = []string{words.FailedToUpdateLease, words.ErrorUpdatingNodeStatus, words.UnableToRegisterNode, words.UnableToUpdateNodeStatus, words.FailedToEnsureLeaseExists, "Error getting node"}

func complains(h v1alpha1.History) (v1alpha1.LogLine, bool) {
	return facts.LastOf(h, "kubelet", 30*time.Second, complaints...)
}

// unverified: the certificate that the server shows does not verify against the kubeconfig's CA.
func unverified(c v1alpha1.Kubeconfig) bool {
	return c.Reach == "tls-untrusted" || c.Reach == "tls-name" || c.Reach == "ok" && c.Server != "" && c.CASHA256 != "" && !c.ServerCAMatches
}

// untrusted: the server shows a certificate that does not verify against the CA the kubelet trusts.
func untrusted(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if c.Reach == "tls-expired" {
		return outdated(h, k)
	}
	if !unverified(c) || !c.Exists || c.Error != "" || !reachFailing(h, k) {
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
	cas := clusterCAs(o)
	if why, no := o.Unreadable(v1alpha1.SourceClusterCAs); no && o.API != nil && len(cas) == 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceClusterCAs, "not compared with the cluster's own CA: "+why))
	}
	if i := slices.IndexFunc(o.Certs, func(k v1alpha1.Certificate) bool { return k.Path == clusterCA }); len(cas) > 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceAPI, "the cluster's CA by its kube-root-ca.crt: sha256 "+strings.Join(cas, ", ")))
		switch {
		case slices.Equal(cas, []string{c.CASHA256}) && c.Reach == "tls-name":
			f.Summary = fmt.Sprintf("the certificate that the API server shows is not for the name that the kubelet has for it, %s", c.Server)
			f.ManualAction = "have the kubelet's kubeconfig name the API server by a name of its certificate, or have that issued for this name (kubeadm: apiServer.certSANs)"
			return f
		case slices.Equal(cas, []string{c.CASHA256}):
			f.Summary = fmt.Sprintf("what answers at %s is not this cluster's API server: the kubelet trusts the cluster's own CA (%s), and that server's certificate is by another", c.Server, c.CASubject)
			f.ManualAction = "look at what is between this node and the API server, and do not have the node trust it: `openssl s_client -showcerts -connect " + detectors.Quote(strings.TrimPrefix(c.Server, "https://")) + " </dev/null`"
			return f
		case i >= 0 && o.Certs[i].SHA256 != "" && !slices.Contains(cas, o.Certs[i].SHA256):
			f.ManualAction = clusterCA + " on this node is not the cluster's CA either: give the node that of `kubectl -n kube-system get configmap kube-root-ca.crt -o yaml`"
			return f
		}
	}
	f.Remedy = facts.Place(o).NewRemedy("trust-cluster-ca",
		detectors.EditFile(v1alpha1.Safe, o.Node, "put the cluster's CA into the kubeconfig, from the node's own copy, which verifies the server", []string{kubeletConf(o)}, `f=$1 ca=`+clusterCA+`
[ "$(grep -c -e '-BEGIN CERTIFICATE-' "$ca")" = 1 ] || { echo "$ca is not there, or holds more than the cluster's one CA" >&2; exit 1; }
`+isClusterCA+`
curl -s -o /dev/null --max-time 5 --cacert "$ca" -- "$server/livez" || { echo "$ca does not verify $server" >&2; exit 1; }
cluster=$(kubectl config --kubeconfig="$f" view -o jsonpath='{.clusters[0].name}')
kubectl config --kubeconfig="$f" set-cluster --certificate-authority="$ca" --embed-certs=true -- "$cluster"`, detectors.V("server", c.Server), detectors.V("cas", strings.Join(cas, " "))),
		facts.RestartKubelet(o, "the kubelet reads it only at start; pods go on"),
		detectors.WaitReady(o.Node))
	return f
}

// clusterCA is where kubeadm keeps the cluster's CA on a node.
const clusterCA = "/etc/kubernetes/pki/ca.crt"

// isClusterCA ends a script unless the file $ca is one of the certificates that the API server gives to pods, where these are known.
const isClusterCA = `[ -z "$cas" ] || case " $cas " in *" $(awk '/-END CERT/ { exit } p; /-BEGIN CERT/ { p = 1 }' "$ca" | base64 -d | sha256sum | cut -c1-64) "*) ;; *) echo "$ca is not the CA of the cluster's kube-root-ca.crt" >&2; exit 1 ;; esac`

func clusterCAs(o *v1alpha1.Observation) []string {
	if o.API == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(o.API.ClusterCAs), func(s string) bool { return !sha256Hex.MatchString(s) })
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// outdated: the API server's own certificate is not valid now, by a clock of this node that is not known to be wrong.
func outdated(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c, clocks := o.Kubelet.Kubeconfig, o.Clocks
	if off := max(clocks.APIOffsetSeconds, -clocks.APIOffsetSeconds); !c.Exists || c.Error != "" || !reachFailing(h, k) || clocks.APIOffsetKnown && off > 30 {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "apiserver-untrusted", Certainty: v1alpha1.Certain,
		Summary:      fmt.Sprintf("the certificate that the API server %s shows is not valid now: %s", c.Server, c.ReachError),
		Evidence:     []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceKubeconfig, fmt.Sprintf("dial %s from the node: %s: %s", c.Server, c.Reach, c.ReachError))},
		ManualAction: "where the clock is right, the certificate is renewed where the API server runs (`kubeadm certs renew apiserver`, then restart it), or by whoever runs the load balancer before it",
	}
	if l, ok := facts.LastOf(h, "kubelet", time.Minute, words.CertificateNotValid); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if !clocks.APIOffsetKnown && !clocks.Synchronized {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether this node's clock is right: `timedatectl`"
	}
	return f
}

// justRenewed is within one renewal of the shortest lease (16 s, renewed every 4 s) and the Date header's coarseness.
const justRenewed = 5 * time.Second

// noWay tells that connecting from the node fails, and that this is not one late dial.
func noWay(h v1alpha1.History, k facts.Kubelet, rules inTheWay) bool {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if !c.Exists || c.Error != "" || !reachFailing(h, k) {
		return false
	}
	switch c.Reach {
	case "refused", "no-route", "dns":
		return true
	case "other":
		return facts.Silent(o)
	case "timeout":
		// A kubelet that reached it a moment ago: what came late is only this look's own dial, seen on a machine with a load of 19. Nor
		// does one late dial tell why there is no kubelet: it does not end for want of a server.
		age, ok := facts.LeaseAge(o)
		return !(ok && age < justRenewed) && (!k.Down() || len(rules.named)+len(rules.every) > 0 || failedBefore(h))
	}
	return false
}

// unreachable: connecting from the node fails, while the address is right.
func unreachable(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	rules := rulesAgainst(o)
	if !noWay(h, k, rules) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "apiserver-unreachable", Certainty: v1alpha1.Certain,
		Summary:  fmt.Sprintf("the node cannot reach the API server %s (%s)", c.Server, c.Reach),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceKubeconfig, fmt.Sprintf("dial %s from the node: %s: %s", c.Server, c.Reach, c.ReachError))},
	}
	for _, r := range slices.Concat(rules.named, rules.every, rules.perhaps) {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceFirewall, r.Text))
	}
	if o.Network.DefaultRoute == "" && o.Network.DefaultRoute6 == "" && c.Reach == "no-route" {
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
	steps := openWay(h, rules, f)
	switch proxy := proxied(o); {
	case c.Reach == "dns" && len(o.Network.Nameservers) == 0:
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, "/etc/resolv.conf names no name server"))
		f.ManualAction = "/etc/resolv.conf names no name server, so no name means anything on this node: which one this network has is for its owner to say"
	case proxy != "":
		f.Certainty, f.ManualAction = v1alpha1.Likely, "the kubelet goes through the proxy "+proxy+": look whether that answers and may connect to "+c.Server
		f.ToConfirm = "`curl -k -x " + detectors.Quote(proxy) + " -- " + detectors.Quote(c.Server+"/livez") + "` on the node"
	case len(steps) == 0:
		unexplained(h, rules, f)
	default:
		f.Remedy = facts.Place(o).NewRemedy("open-api-path", append(steps, detectors.WaitReady(o.Node))...)
	}
	return f
}

// openWay are the steps against what is seen to be in the way.
func openWay(h v1alpha1.History, rules inTheWay, f *v1alpha1.Finding) (steps []v1alpha1.Step) {
	o := h.Last()
	steps = facts.TakeOut(o, rules.named, "this keeps the node from the API server", o.Kubelet.Kubeconfig.Server, f)
	for _, r := range rules.every {
		if step := letThrough(o, r); step != nil && len(rules.named) == 0 {
			steps = append(steps, *step)
		}
	}
	if line, step, ok := misled(h); ok {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, "/etc/hosts: "+line))
		steps = append(steps, step)
	}
	return steps
}

// unexplained says where to look when nothing on the node is in the way that a step could take away.
func unexplained(h v1alpha1.History, rules inTheWay, f *v1alpha1.Finding) {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	if what, todo, ev := facts.NoConnections(h, c.Reach+" "+c.ReachError); what != "" {
		f.Summary += ": " + what
		f.Evidence, f.ManualAction = append(f.Evidence, ev...), todo
		return
	}
	if o.API == nil {
		f.Certainty = v1alpha1.Likely
		f.ToConfirm = "whether the API server answers anybody: `curl -k -- " + detectors.Quote(c.Server+"/livez") + "` from another machine"
	}
	switch {
	case f.ManualAction != "":
	case len(rules.perhaps) > 0:
		f.ManualAction = "whether the node's packets meet the rules above is not known: they also ask for what this look does not see; trace one (nft monitor trace, iptables -j TRACE), then look at routing and the API server's own host"
	default:
		f.ManualAction = "nothing on the node explains it (no rule, no route): firewall, routing or the API server's own host have to be looked at"
	}
}

// misled: a line of /etc/hosts gives the API server's name an address that the server does not have, and that is where this node
// went. The step takes the line out, in place: in a container the file is a mount and cannot be replaced.
// A load balancer's name has an address of its own: there only a line that an earlier look did not have is known to be wrong.
func misled(h v1alpha1.History) (line string, step v1alpha1.Step, ok bool) {
	o := h.Last()
	c := o.Kubelet.Kubeconfig
	u, err := url.Parse(c.Server)
	to := facts.Targets(c.ReachError)
	if err != nil || len(to) == 0 || o.API == nil || slices.Contains(o.API.Endpoints, to[0].Addr.String()) {
		return "", step, false
	}
	went := to[0].Addr.String()
	i := slices.IndexFunc(o.Network.Hosts, func(line string) bool {
		f := strings.Fields(line)
		return len(f) > 1 && f[0] == went && slices.Contains(f[1:], u.Hostname())
	})
	if i < 0 || !slices.Contains(o.API.Endpoints, u.Hostname()) && (h[0].Kubelet.Kubeconfig.Reach != "ok" || slices.Contains(h[0].Network.Hosts, o.Network.Hosts[i])) {
		return "", step, false
	}
	return o.Network.Hosts[i], detectors.EditFile(v1alpha1.Safe, o.Node, fmt.Sprintf("%s is no address of the API server %s: without this line its name is resolved as everywhere", went, u.Hostname()),
		[]string{"/etc/hosts"}, `new=$(a="$addr" n="$name" awk '{ for (i = 2; i <= NF; i++) if ($1 == ENVIRON["a"] && $i == ENVIRON["n"]) next; print }' /etc/hosts)
printf '%s\n' "$new" > /etc/hosts`, detectors.V("addr", went), detectors.V("name", u.Hostname())), true
}

// stopped: there is no working kubelet, and none of the causes above is why. Other failures that have it as a consequence
// (swap, cgroup v1, an expired certificate) cover this finding.
func stopped(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	if !k.Down() {
		return nil
	}
	u := k.Unit
	f := &v1alpha1.Finding{Cause: "kubelet-stopped", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{unitEvidence(o, k)}}
	service := facts.KubeletUnitName(o) + ".service"
	var steps []v1alpha1.Step
	switch {
	case k.Halted && len(h) < 2 && !facts.Silent(o) && o.Kubelet.Healthz == "ok":
		return nil
	case k.Halted:
		p, _ := facts.MainProcess(o, facts.KubeletUnitName(o))
		how := facts.HaltedHow(p)
		f.Summary = "the kubelet's process is there and does not run: it " + how
		f.Evidence = append([]v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceProcesses, fmt.Sprintf("kubelet (pid %d) %s", u.MainPID, how))}, f.Evidence...)
		steps = facts.Wake(o, facts.KubeletUnitName(o))
	case u.LoadState == "not-found":
		f.Summary = "there is no " + service + " on this node"
		if !o.Host.InContainer {
			f.ManualAction = "install the kubelet's package and its unit again"
			return f
		}
		unit := "/etc/systemd/system/kubelet.service" // where kind's images have it
		for i := range h {
			if was := h[i].Units[facts.KubeletUnitName(o)].Fragment; was != "" {
				unit = was
			}
		}
		steps = append(steps, detectors.RestoreStep(o.Node, unit, "the unit's file comes back from the node's image"),
			detectors.NodeStep(v1alpha1.Safe, o.Node, "systemd reads it", "systemctl", "daemon-reload"), startStep(o, service))
	case k.Looping:
		f.Summary = "the kubelet exits at start, again and again"
		if k.Said {
			f.Evidence = append(f.Evidence, facts.FromLine(k.Exit))
			f.Summary += ": " + reason(k.Exit.Text)
		}
		if _, why, waits := strings.Cut(k.Exit.Text, words.AgentWaits); k.Said && waits {
			f.Summary = service + " has not started its kubelet, and waits for its server" + facts.Short(strings.TrimSuffix(why, `"`))
		}
		steps, f.ManualAction = repair(o, k)
		killed(h, k, f)
		if f.ManualAction != "" {
			if !k.Said && u.ExecMainStatus != 203 {
				f.Certainty, f.ToConfirm = v1alpha1.Likely, "its last words: `journalctl -u kubelet -n 20`"
			}
			return f
		}
	default:
		if steps = begin(o, k, f); f.ManualAction != "" {
			return f
		}
	}
	f.Remedy = facts.Place(o).NewRemedy("start-kubelet", append(steps, detectors.WaitReady(o.Node))...)
	return f
}

// killed is a kubelet that says nothing of its end, for something else ends it.
func killed(h v1alpha1.History, k facts.Kubelet, f *v1alpha1.Finding) {
	if times, result := facts.Failures(h, "kubelet"); !k.Said && times > 0 && facts.Killed(result) {
		f.Summary = "the kubelet is killed, again and again: systemd says " + result
		f.ManualAction = facts.WhoKills(facts.KubeletUnitName(h.Last()) + ".service")
	}
}

// begin are the steps that start a kubelet whose unit is there and which nobody starts.
func begin(o *v1alpha1.Observation, k facts.Kubelet, f *v1alpha1.Finding) (steps []v1alpha1.Step) {
	u, service := k.Unit, facts.KubeletUnitName(o)+".service"
	f.Summary = fmt.Sprintf("the kubelet does not run: its unit is %s", u.ActiveState)
	if u.Result == "oom-kill" {
		f.Summary += ", for the kernel killed it for want of memory (see `dmesg | grep oom-kill`: the node's, or the limit of its slice)"
	}
	if u.LoadState == "masked" {
		f.Summary = "the kubelet does not run: its unit is masked"
		steps = append(steps, facts.Unmask(o.Node, service))
	}
	if u.LoadState == "bad-setting" || u.LoadState == "error" {
		f.Summary = fmt.Sprintf("the kubelet does not run: systemd cannot use its unit (%s)", u.LoadState)
		f.ManualAction = "mend what `systemd-analyze verify " + service + "` says of the unit or of its drop-ins (`systemctl cat " + service + "`), then `systemctl daemon-reload` and start it"
		return nil
	}
	if u.ExecMainStatus == 203 && !o.Host.InContainer {
		f.ManualAction = noBinary
		return nil
	}
	if u.ExecMainStatus == 203 {
		steps = append(steps, restoreBinary(o))
	}
	if o.Kubelet.FileError != "" {
		f.Summary += ", and its configuration cannot be read: " + o.Kubelet.FileError
		steps = append(steps, clusterConfig(o))
	}
	if u.ActiveState == "failed" {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "forget the failed starts", "systemctl", "reset-failed", service))
		if k.Said {
			f.Evidence = append(f.Evidence, facts.FromLine(k.Exit))
		}
	}
	if u.UnitFileState == "disabled" {
		steps = append(steps, facts.ByHand(detectors.NodeStep(v1alpha1.Destructive, o.Node, "it would not come back at boot either", "systemctl", "enable", service), "systemctl disable "+service))
	}
	start := startStep(o, service)
	if facts.StoppedByHand(u) && o.Kubelet.FileError == "" {
		f.Evidence = append(f.Evidence, stoppedByHand(o))
		start = facts.AgainstAStop(start, endsPods, service)
	}
	return append(steps, start)
}

// endsPods is what the start of a kubelet that somebody stopped does besides.
const endsPods = "the kubelet ends pods that were deleted while it was stopped"

func stoppedByHand(o *v1alpha1.Observation) v1alpha1.Evidence {
	return facts.Seen(o, v1alpha1.SourceUnits, "it ended without an error: somebody stopped it, perhaps for maintenance")
}

// again starts the kubelet, whether it runs or was stopped.
func again(o *v1alpha1.Observation, why string) v1alpha1.Step {
	step := facts.RestartKubelet(o, why)
	if u, ok := facts.KubeletUnit(o); ok && facts.StoppedByHand(u) {
		step = facts.AgainstAStop(step, endsPods, facts.KubeletUnitName(o)+".service")
	}
	return step
}

func startStep(o *v1alpha1.Observation, service string) v1alpha1.Step {
	return detectors.NodeStep(v1alpha1.Safe, o.Node, "pods go on meanwhile; the kubelet takes them over again", "systemctl", "start", service)
}

func restoreBinary(o *v1alpha1.Observation) v1alpha1.Step {
	return detectors.RestoreStep(o.Node, "/usr/bin/kubelet", "systemd cannot execute the kubelet's binary (status 203)")
}

// repair are the steps against what makes the kubelet exit, where that is plain.
func repair(o *v1alpha1.Observation, k facts.Kubelet) (steps []v1alpha1.Step, untouched string) {
	again := facts.RestartKubelet(o, "start it again")
	if k.Unit.ExecMainStatus == 203 && !o.Host.InContainer {
		return nil, noBinary
	}
	if k.Unit.ExecMainStatus == 203 {
		return []v1alpha1.Step{restoreBinary(o), again}, ""
	}
	said := ""
	if k.Said {
		said = k.Exit.Text
	}
	if k.Unit.Result == "resources" {
		return nil, "systemd could not prepare its start: a file of EnvironmentFile= that is not there, a user, or room; `systemctl status " + facts.KubeletUnitName(o) + ".service` and `journalctl -t systemd -n 20` say what"
	}
	for _, e := range endings {
		m := e.says.FindStringSubmatch(said)
		if m == nil {
			continue
		}
		if e.mend != nil {
			if step, ok := e.mend(o, m[1]); ok {
				return []v1alpha1.Step{step, again}, ""
			}
		}
		return nil, fmt.Sprintf(e.manual, m[1])
	}
	for _, f := range o.Files {
		if f.Immutable && strings.HasPrefix(f.Path, "/var/lib/kubelet") && strings.Contains(said, words.OperationNotPermitted) {
			steps = append(steps, facts.Mutable(o.Node, f.Path, "it is immutable (lsattr: i), and the kubelet writes there"))
		}
	}
	if len(steps) > 0 {
		return append(steps, again), ""
	}
	if o.Kubelet.FileError != "" || facts.Has(said, configTexts...) || wrongEndpoint(o, k) {
		if files := o.Kubelet.ConfigFiles; len(files) > 0 && files[0] != kubeadmConfig {
			return nil, "its configuration (" + strings.Join(files, ", ") + ") is not kubeadm's: mend it as the last words say, or have what joined this node write it again"
		}
		return []v1alpha1.Step{clusterConfig(o), again}, ""
	}
	return nil, "its last words name the reason; it has to be removed by hand"
}

// endings are last words that name what ends the kubelet, what of it can be mended, and what a person does where it cannot. The first
// group of says is what is named.
var endings = []struct {
	says   *regexp.Regexp
	mend   func(o *v1alpha1.Observation, what string) (v1alpha1.Step, bool)
	manual string
}{
	{says: regexp.MustCompile(`unknown flag: --([a-z0-9-]+)`), mend: func(o *v1alpha1.Observation, flag string) (v1alpha1.Step, bool) {
		return dropFlag(o, flag, "this kubelet has no flag --"+flag+": take it out of the files its flags come from"), true
	}},
	{says: regexp.MustCompile(`listen tcp \S*?:(\d+): bind: address already in use`),
		manual: "another program has port %[1]s, which the kubelet serves (`ss -ltnp sport = :%[1]s` names it): which of the two gets it is for its owner to say"},
	{says: regexp.MustCompile(`unrecognized feature gate: (\w+)`), mend: func(o *v1alpha1.Observation, gate string) (v1alpha1.Step, bool) {
		return dropItem(o, "feature-gates", gate, "this kubelet has no feature gate "+gate+": take it out of its flags and its configuration"), true
	}},
	// staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go has those that it may give itself.
	{says: regexp.MustCompile(`unknown 'kubernetes\.io' or 'k8s\.io' labels specified with --node-labels: \[([^\] ]+)`), mend: func(o *v1alpha1.Observation, label string) (v1alpha1.Step, bool) {
		return dropItem(o, "node-labels", label, "a kubelet may not give its node the label "+label+": `kubectl label node` may"), true
	}},
	// cmd/kubelet/app/auth.go BuildAuthn says only which file since DynamicCAContent reads it.
	{says: regexp.MustCompile(`(?:unable to load client CA file |failed to run Kubelet: open )\\?"?(/[^ \\":]*ca[^ \\":/]*\.(?:crt|pem))`), mend: func(o *v1alpha1.Observation, file string) (v1alpha1.Step, bool) {
		if !o.Kubelet.Kubeconfig.Exists || o.Kubelet.Kubeconfig.CASHA256 == "" {
			return v1alpha1.Step{}, false
		}
		return detectors.EditFile(v1alpha1.Safe, o.Node, "the CA by which the kubelet knows its callers comes back from its kubeconfig", []string{file}, `mkdir -p "$(dirname -- "$1")"
ca=$(kubectl config view --kubeconfig="$conf" --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d)
[ -n "$ca" ] || { echo "the kubeconfig holds no CA of its own" >&2; exit 1; }
printf '%s\n' "$ca" > "$1"`, detectors.V("conf", kubeletConf(o))), true
	}, manual: "put the cluster's CA back to %s, from another node or the control plane's /etc/kubernetes/pki/ca.crt"},
	{says: regexp.MustCompile(`open (/dev/kmsg): (?:no such file or directory|operation not permitted|permission denied)`),
		manual: "the kubelet reads the kernel's log from %s, which this machine does not have: a container needs that device of its host (or a link to /dev/console, as nested kubelets do), or the gate KubeletInUserNamespace"},
	{says: regexp.MustCompile(words.KubeletDropin + `, path: ([^\s,]+)`), mend: func(o *v1alpha1.Observation, file string) (v1alpha1.Step, bool) {
		return detectors.MoveAside(o.Node, file, "the kubelet cannot read this file of its drop-in directory: put it aside for its owner to mend"), true
	}},
	// k3s and RKE2 render their containerd's configuration before they start anything.
	{says: regexp.MustCompile(`template: (compiled_template:\d+)`),
		manual: "k3s cannot fill in the template of its containerd's configuration (%s), config.toml.tmpl or config-v3.toml.tmpl in agent/etc/containerd below /var/lib/rancher/k3s or rke2: it was copied from another version; have it begin with {{ template \"base\" . }} and hold only what is added"},
	{says: regexp.MustCompile(`(Node password rejected)`),
		manual: "the server keeps the password of a node of this name, and this machine has another: where the machine was made again, `kubectl -n kube-system delete secret NODE.node-password.k3s` for its name; where two machines have the name, give one another (--node-name, --with-node-id); the server's answer was: %s"},
	{says: regexp.MustCompile(words.AgentWaits + `; server is not ready: (.*)`),
		manual: "K3s and RKE2 start the kubelet when their server has given them its configuration: see whether it is up and whether token and server in /etc/rancher are its own (%s)"},
	{says: regexp.MustCompile(`Kubelet exited: (exit status \d+)`),
		manual: "RKE2 starts the kubelet itself, which ends (%s): why stands in /var/lib/rancher/rke2/agent/logs/kubelet.log; look at kubelet-arg in /etc/rancher/rke2/config.yaml, and at the files that it names"},
	{says: regexp.MustCompile(`(?:` + words.K0sChildExited + ` error="|` + words.K0sChildTerminated + `)([^"]+)"`),
		manual: "k0s starts the kubelet itself, which ends (%s): why stands in `journalctl -u k0sworker -u k0scontroller | grep component=kubelet`; look at --kubelet-extra-args of k0s, and at the worker profile"},
	{says: regexp.MustCompile(`(inotify)[^"]*: too many open files`),
		manual: "the node has no %s instances left for this user: see who has them (`find /proc/*/fd -lname anon_inode:inotify`), or raise fs.inotify.max_user_instances"},
	{says: regexp.MustCompile(`(inotify)[^"]*: no space left on device`),
		manual: "the node has no %s watches left for this user, and no disk is full: see who has them (`grep -c ^inotify /proc/*/fdinfo/* 2>/dev/null | sort -t: -k2n | tail`), or raise fs.inotify.max_user_watches"},
	{says: regexp.MustCompile(`(/[^\s:"\\]+)\\*"?: no space left on device`),
		manual: "there is no room for %[1]s: look at `df -h -- %[1]s` and `df -i -- %[1]s`, or at its nearest parent, and make room there"},
	{says: regexp.MustCompile(`(/[^\s:"\\]+)\\*"?: ` + words.ReadOnlyFileSystem),
		manual: "%[1]s is on a filesystem that takes no writes: see `findmnt -T %[1]s` (or of its nearest parent) and the kernel's log for why; after an error fsck comes before a remount"},
	{says: regexp.MustCompile(`[Ii]nvalid kernel flag: (\S+), expected value`),
		manual: "the kubelet may only read the kernel's settings (protectKernelDefaults), and %s and those beside it are not as it wants them: set all that it names in a file below /etc/sysctl.d and run `sysctl --system`; on Bottlerocket settings.kernel.sysctl, on RKE2 with a CIS profile rke2-cis-sysctl.conf"},
	{says: regexp.MustCompile(`Resource \\*"([^"\\]+)\\*" has a reservation of`),
		manual: "systemReserved, kubeReserved and evictionHard together reserve more %s than this machine has: reserve less, or give the machine more"},
	{says: regexp.MustCompile(`root container \[([^\]]+)\] doesn't exist`),
		manual: "the kubelet does not find its cgroup %s in every hierarchy: see whether all controllers are there (`cat /proc/cgroups`, /sys/fs/cgroup/cgroup.controllers) and whether its cgroupDriver is the runtime's"},
	{says: regexp.MustCompile(`Following Cgroup subsystem not mounted: \[([^\]]+)\]`),
		manual: "the kernel has no cgroup controller %s: turn it on where the machine boots (cgroup_enable=memory cgroup_memory=1 on a Raspberry Pi), and reboot"},
	{says: regexp.MustCompile(`invalid argument .*? for \\*"(?:-\w, )?--([a-z0-9-]+)`),
		manual: "--%s has a value that the kubelet cannot read, as its last words say: correct it where the flags come from (`systemctl cat kubelet`, /var/lib/kubelet/kubeadm-flags.env, /etc/default/kubelet)"},
	{says: regexp.MustCompile(`[Uu]nknown cloud provider:? \\*"?([a-z]+)`),
		manual: "this kubelet has no cloud provider %s inside any more: give it --cloud-provider=external, and run the cloud's controller manager in the cluster"},
	{says: regexp.MustCompile(`failed to run Kubelet: open (/[^\s:"\\]+): (?:no such file|permission denied)`),
		manual: "the kubelet cannot read %[1]s, which its configuration or a flag names (such as tlsCertFile, tlsPrivateKeyFile): put it back (`ls -lZ -- %[1]s`: its mode and SELinux context count as well), or take the setting out"},
	{says: regexp.MustCompile(words.FailedToListenAndServe + `.*(tls: [^"\\]+)`),
		manual: "the pair by which the kubelet serves cannot be used (%s): tlsCertFile and tlsPrivateKeyFile of its configuration or flags name it, else it is kubelet.crt and kubelet.key in /var/lib/kubelet/pki, of which it makes new ones when both are moved aside"},
	{says: regexp.MustCompile(`of type \\*"([a-z0-9-]+)\\*" is not equal to the value .* determined by Node Allocatable`),
		manual: "reservedMemory of the kubelet's configuration has to add up, for %s, to kubeReserved, systemReserved and the hard eviction threshold together"},
	{says: regexp.MustCompile(`(cpu|memory)(?:_manager_state| manager error)`),
		manual: "the policy or the machine's own CPUs or memory changed, and the state of before is still there: drain the node, move /var/lib/kubelet/%s_manager_state aside, and start the kubelet; or take the change back"},
}

// noBinary is what is to be done on a machine whose kubelet systemd cannot execute.
const noBinary = "systemd cannot execute the kubelet's binary (status 203): install its package again"

const kubeadmConfig = "/var/lib/kubelet/config.yaml"

// configTexts are last words about what only the kubelet's configuration can have told it.
var configTexts = []string{words.LoadKubeletConfigFile, words.LoadKubeletConfigOld, words.ValidateKubeletConfiguration, words.ReservedCgroupLimits, words.ReservedCompressible, "invalid configuration: cgroup"}

// wrongEndpoint: the configuration names a socket for the runtime that is not there, while the runtime runs and serves its own.
func wrongEndpoint(o *v1alpha1.Observation, k facts.Kubelet) bool {
	u, _ := facts.RuntimeUnit(o)
	return k.Said && facts.Has(k.Exit.Text, words.RuntimeAPIForEndpoint, words.ValidateServiceConnection) && facts.Has(k.Exit.Text, words.NoSuchFileOrDirectory, words.ConnectionRefused) &&
		u.ActiveState == "active" && !facts.OwnSocket(o)
}

func clusterConfig(o *v1alpha1.Observation) v1alpha1.Step {
	// kubeadm makes a copy of the old file first, and fails where there is none.
	return detectors.EditFile(v1alpha1.Safe, o.Node, "its configuration cannot be used: take the cluster's own again (ConfigMap kubelet-config)",
		[]string{kubeadmConfig}, `[ -e "$1" ] || : > "$1"
kubeadm upgrade node phase kubelet-config --kubeconfig="$conf"`, detectors.V("conf", kubeletConf(o)))
}

var errText = regexp.MustCompile(`(?:err|level=(?:fatal|error) msg)="((?:[^"\\]|\\.)*)"`)

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
	if notAdmitted(h, k, f) {
		return f
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
		detectors.Destructive(facts.RestartKubelet(o, "the kubelet registers its node at start"), "brings back a node that somebody, or an autoscaler, took out of the cluster"), detectors.WaitReady(o.Node))...)
	return f
}

// rejections are what the API server answers a kubelet that it knows and whose node it does not take, and what a person does. The first
// group is the reason.
var rejections = []struct {
	says   *regexp.Regexp
	manual string
}{
	{regexp.MustCompile(`(is not allowed to modify labels: [^"\\]+)`),
		"a kubelet may not give its node these labels: take them out of --node-labels (k3s, RKE2: node-label, Talos: machine.nodeLabels), restart it, and set them with `kubectl label node`"},
	{regexp.MustCompile(`(failed calling webhook \\*"[^"\\]+)`),
		"an admission webhook that does not answer keeps nodes from registering and reporting: see `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations`, whether its service has endpoints, and have it leave out nodes and leases"},
	{regexp.MustCompile(`(admission webhook \\*"[^"\\]+\\*" denied the request[^"\\]*)`),
		"an admission webhook refuses this node: what it asks for is for its owner to say"},
	{regexp.MustCompile(`(could not determine node from user|unknown node for user[^,]*)`),
		"the kubelet's credential is not a node's: its certificate needs the subject O=system:nodes, CN=system:node:NAME with the node's own name (`openssl x509 -noout -subject` of it); have it join again"},
}

// answersLate are what the API server says, or the kubelet of it, when it takes connections and what is asked takes too long or too much.
var answersLate = []struct {
	says   *regexp.Regexp
	manual string
}{
	{regexp.MustCompile(`(etcdserver: mvcc: database space exceeded|etcdserver: no space)`),
		"etcd has no room and takes no writes: on a control-plane node see `etcdctl endpoint status` and `etcdctl alarm list`; compact, defragment and disarm, or give it more room (--quota-backend-bytes)"},
	{regexp.MustCompile(`(etcdserver: [^"\\]+)`),
		"etcd does not serve the API server: on the control-plane nodes see `etcdctl endpoint health --cluster`, its disks and its members"},
	{regexp.MustCompile(`(the server is currently unable to handle the request|the server was unable to return a response in the time allotted[^"\\]*|Too many requests[^"\\]*|the server has received too many requests[^"\\]*|context deadline exceeded[^"\\]*|Client\.Timeout[^"\\]*)`),
		"the API server takes the node's connection and does not answer in time: look at its load and at etcd's (`kubectl get --raw '/readyz?verbose'`), at what is between them, and at the MTU of that way: small packets pass where large ones do not"},
}

// notTaken: the API server answers the kubelet, and does not take what it reports. That is nothing a restart of the kubelet changes.
func notTaken(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	if !k.Running || o.API == nil || unregisteredNow(o) {
		return nil
	}
	said, times := unheard(h, k)
	if times < 2 {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "apiserver-unreachable", Certainty: v1alpha1.Certain,
		Evidence: []v1alpha1.Evidence{facts.FromLine(said), facts.Seen(o, v1alpha1.SourceKubeconfig, fmt.Sprintf("dial %s from the node: %s", o.Kubelet.Kubeconfig.Server, cmp.Or(o.Kubelet.Kubeconfig.Reach, "not tried")))},
	}
	for _, r := range rejections {
		if m := r.says.FindStringSubmatch(said.Text); m != nil {
			f.Summary = "the API server answers the kubelet and does not take its reports: " + facts.Short(strings.ReplaceAll(m[1], `\`, ""))
			f.ManualAction = r.manual
		}
	}
	for _, r := range answersLate {
		if m := r.says.FindStringSubmatch(said.Text); m != nil && f.Summary == "" && facts.Silent(o) && o.Kubelet.Kubeconfig.Reach == "ok" {
			f.Summary = "the API server is reached and the kubelet's reports do not get through: " + facts.Short(m[1])
			f.ManualAction = r.manual
			if !strings.Contains(m[1], "space") {
				f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether others are answered in time: `kubectl get --raw '/readyz?verbose'`"
			}
		}
	}
	if f.Summary == "" {
		return nil
	}
	if age, ok := facts.LeaseAge(o); ok {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.lease", fmt.Sprintf("renewed %s ago", age.Round(time.Second))))
	}
	return f
}

// unheard is the last of the lines, and how many there are, in which the kubelet complains since its start, and since what it complains of
// was done last.
func unheard(h v1alpha1.History, k facts.Kubelet) (last v1alpha1.LogLine, times int) {
	api := h.Last().API
	lease, status := k.Unit.ActiveSince, k.Unit.ActiveSince
	if l := api.Lease; l != nil && l.Spec.RenewTime != nil && l.Spec.RenewTime.After(lease) {
		lease = l.Spec.RenewTime.Time
	}
	if c, ok := facts.Condition(h.Last(), corev1.NodeReady); ok && c.LastHeartbeatTime.After(status) {
		status = c.LastHeartbeatTime.Time
	}
	for _, l := range facts.Lines(h, "kubelet", time.Minute) {
		fails := l.At.After(lease) && facts.Has(l.Text, words.FailedToUpdateLease, words.FailedToEnsureLeaseExists) || l.At.After(status) && facts.Has(l.Text, words.ErrorUpdatingNodeStatus)
		if fails && !strings.Contains(l.Text, "Operation cannot be fulfilled") {
			last, times = l, times+1
		}
	}
	return last, times
}

// notAdmitted: the kubelet has asked since its start, and the API server does not take its node. Starting it again changes nothing.
func notAdmitted(h v1alpha1.History, k facts.Kubelet, f *v1alpha1.Finding) bool {
	l, said := facts.LastOf(h, "kubelet", time.Minute, words.UnableToRegisterNode)
	if !said || l.At.Before(k.Unit.ActiveSince) {
		return false
	}
	for _, r := range rejections {
		if m := r.says.FindStringSubmatch(l.Text); m != nil {
			f.Summary = "the API server does not let the kubelet register node " + h.Last().Node + ": " + facts.Short(m[1])
			f.ManualAction = r.manual
			return true
		}
	}
	return false
}

// registers is how long a kubelet may take to register after its start: it tries again every seven seconds at most.
const registers = 20 * time.Second

// otherNode is what the API server answers a kubelet that asks as another node than its certificate's (plugin/pkg/auth/authorizer/node,
// plugin/pkg/admission/noderestriction): newer ones do not let it read either.
var otherNode = regexp.MustCompile(`node \\*["']([^"'\\]+)\\*["'] (?:is not allowed to modify node|cannot read) \\*["']([^"'\\]+)\\*["']`)

// misnamed: the kubelet calls its node otherwise than its certificate does, and may not register under that name.
func misnamed(h v1alpha1.History, k facts.Kubelet) *v1alpha1.Finding {
	o := h.Last()
	line, said := facts.LastOf(h, "kubelet", time.Minute, words.NotAllowedToModify, words.OnlyItsOwnNode)
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
		facts.RestartKubelet(o, "the kubelet registers its node at start; pods go on"), detectors.WaitReady(o.Node))...)
	return f
}

// flagFiles are the files that the kubelet's flags come from.
func flagFiles(o *v1alpha1.Observation) []string {
	u, _ := facts.KubeletUnit(o)
	files := append([]string{"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/snap/microk8s/current/args/kubelet"}, u.DropIns...)
	if u.Fragment != "" {
		files = append(files, u.Fragment)
	}
	return files
}

// dropFlag takes a flag out of the files that the kubelet's flags come from, its value with it, and no other flag that begins
// alike. It fails where none of them has it.
func dropFlag(o *v1alpha1.Observation, name, why string) v1alpha1.Step {
	return dropFlagFrom(o.Node, why, name, flagFiles(o))
}

// dropItem takes one key=value out of a flag that is a list of such, and out of the map of the configuration that stands for it.
func dropItem(o *v1alpha1.Observation, flag, item, why string) v1alpha1.Step {
	return dropItemFrom(o.Node, why, flag, item, slices.Concat(flagFiles(o), o.Kubelet.ConfigFiles))
}

func dropItemFrom(node, why, flag, item string, files []string) v1alpha1.Step {
	s := detectors.EditFile(v1alpha1.Safe, node, why, files, `done='' i=$(printf '%s\n' "$item" | sed 's/[][\.*^$+?(){}|!/]/\\&/g')
for f; do
  [ -f "$f" ] && grep -Ev '^[[:space:]]*[#;]' "$f" | grep -Eq -- '(--'"$flag"'[= ]([^ "'\'']*,)?|^[[:space:]]+)'"$i"'[=:]' || continue
  sed -i --follow-symlinks -E \
    -e '\/^[[:space:]]+'"$i"':/d' \
    -e 's/(--'"$flag"'[= ]([^ "'\'']*,)?)'"$i"'=[^, "'\'']*(,|([ "'\'']|$))/\1\4/' \
    -e 's/(--'"$flag"'[= ][^ "'\'']+),([ "'\'']|$)/\1\2/' \
    -e 's/ ?--'"$flag"'[= ]([ "'\'']|$)/\1/' "$f"
  done="$done $f"
done
[ -n "$done" ] || { echo "no file of the kubelet's flags or configuration has $item: see systemctl cat kubelet" >&2; exit 1; }
systemctl daemon-reload`, detectors.V("flag", flag), detectors.V("item", item))
	s.Undo += "\nsystemctl daemon-reload"
	return s
}

func dropFlagFrom(node, why, name string, files []string) v1alpha1.Step {
	// The kubelet has no arguments but flags: a word behind one is its value, unless it is a variable or the next flag. A flag's name is of
	// letters, digits and dashes.
	s := detectors.EditFile(v1alpha1.Safe, node, why, files, `done='' flag="--$name"'(=[^ "'\'']*| +[^- "'\''$\][^ "'\'']*)?([ "'\'']|$)'
for f; do
  [ -f "$f" ] && grep -Ev '^[[:space:]]*[#;]' "$f" | grep -Eq -- "$flag" || continue
  sed -i --follow-symlinks -E '/^[[:space:]]*[#;]/!s/ ?'"$flag"'/\2/g' "$f"
  done="$done $f"
done
[ -n "$done" ] || { echo "none of the files that the kubelet's flags come from has --$name: see systemctl cat kubelet" >&2; exit 1; }
systemctl daemon-reload`, detectors.V("name", name))
	s.Undo += "\nsystemctl daemon-reload"
	return s
}
