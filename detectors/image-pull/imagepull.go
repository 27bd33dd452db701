// Package imagepull tells why an image cannot be pulled: trust, name, credential, reach, or a mirror in between.
//
// The text of the pull's error is the registry's own answer and names the host that gave it; what connecting from the node
// gives, and what hosts.toml says, tell a mirror's fault from the origin's. A pull that succeeded since is over.
package imagepull

import (
	"fmt"
	"net/url"
	"path"
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
	detectors.Register(detectors.Detector{Failure: "image-pull", Needs: []string{v1alpha1.SourceAPI}, Judge: judge})
}

// pull is an image that cannot be pulled now, and the pods that wait for it.
type pull struct {
	image    string
	host     string
	message  string
	evidence v1alpha1.Evidence
	waiting  []facts.ContainerOf
	invalid  bool
}

// judge explains each image that pods of this node wait for.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	for _, p := range pulls(h) {
		f := judgePull(h, p)
		if f == nil {
			continue
		}
		f.Failure, f.Node = "image-pull", o.Node
		if _, unread := o.Unreadable(v1alpha1.SourceImages); unread && f.Certainty == v1alpha1.Certain {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the image is there since: `crictl images`"
		}
		first := p.waiting[0]
		f.Object = facts.PodRef(first.Pod)
		for _, w := range p.waiting[1:] {
			f.Consequences = append(f.Consequences, fmt.Sprintf("pod %s/%s waits for the same image", w.Pod.Namespace, w.Pod.Name))
		}
		out = append(out, *f)
	}
	return out
}

// pulls groups the waiting containers by image; one image is one finding.
func pulls(h v1alpha1.History) []pull {
	o := h.Last()
	var out []pull
	for _, w := range facts.Waiting(o, "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RegistryUnavailable") {
		image := w.Spec.Image
		if w.Spec.ImagePullPolicy != corev1.PullAlways && slices.ContainsFunc(o.Runtime.Images, func(i v1alpha1.Image) bool {
			return slices.Contains(i.Tags, canonical(image)) || slices.Contains(i.Tags, image)
		}) {
			continue // it is there since; the back-off ends by itself
		}
		message, ev := answer(h, w)
		if message == "" {
			continue
		}
		i := slices.IndexFunc(out, func(p pull) bool { return p.image == image })
		if i < 0 {
			out = append(out, pull{image: image, host: hostOf(image), message: message, evidence: ev, waiting: []facts.ContainerOf{w},
				invalid: w.Status.State.Waiting.Reason == "InvalidImageName"})
			continue
		}
		if !slices.ContainsFunc(out[i].waiting, func(x facts.ContainerOf) bool { return x.Pod == w.Pod }) {
			out[i].waiting = append(out[i].waiting, w)
		}
	}
	return out
}

// answer is the newest text that says more than "Back-off pulling image".
func answer(h v1alpha1.History, w facts.ContainerOf) (string, v1alpha1.Evidence) {
	o := h.Last()
	s := w.Status.State.Waiting
	says := func(m string) bool {
		return facts.Has(m, "failed to", "rpc error", "x509", "not found", "couldn't parse", "Failed to apply default image tag", "invalid reference")
	}
	for _, e := range facts.Events(o, "Pod", w.Pod.Namespace, w.Pod.Name, time.Hour, "Failed", "InspectFailed") {
		if says(e.Message) && strings.Contains(e.Message, w.Spec.Image) && (e.InvolvedObject.UID == "" || e.InvolvedObject.UID == w.Pod.UID) {
			return e.Message, facts.FromEvent(&e)
		}
	}
	if says(s.Message) {
		return s.Message, facts.Seen(o, "api.pods", w.Where()+" "+s.Reason+": "+s.Message)
	}
	for _, l := range slices.Backward(facts.Lines(h, "", 6*time.Minute)) {
		if strings.Contains(l.Text, w.Spec.Image) && facts.Has(l.Text, "PullImage", words.FailedToPullImage) && says(l.Text) {
			return l.Text, facts.FromLine(l)
		}
	}
	return "", v1alpha1.Evidence{}
}

// hostOf is the registry an image reference names.
func hostOf(image string) string {
	first, _, more := strings.Cut(image, "/")
	if more && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first
	}
	return "docker.io"
}

// repository is the reference without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}

// canonical is the reference as the runtime lists it.
func canonical(image string) string {
	out := image
	if hostOf(image) == "docker.io" && !strings.HasPrefix(image, "docker.io/") {
		if !strings.Contains(image, "/") {
			out = "library/" + out
		}
		out = "docker.io/" + out
	}
	if repository(out) == out {
		out += ":latest"
	}
	return out
}

var (
	tlsTexts  = []string{"x509:", "tls: ", "unable to read CA cert", "unable to load CA cert", "server gave HTTP response to HTTPS client", "certificate"}
	authTexts = []string{words.PullAccessDenied, words.NoBasicAuthCredentials, "insufficient_scope", words.AuthorizationFailed, "401 Unauthorized", "403 Forbidden", "unauthorized: ", "failed to authorize", "failed to fetch anonymous token", "failed to fetch oauth token", "denied: "}
	netTexts  = []string{"dial tcp", words.ConnectionRefused, "i/o timeout", words.NoSuchHost, words.NoRouteToHost, "network is unreachable", "connection reset", "context deadline exceeded", "EOF", "TLS handshake timeout", "502 Bad Gateway", "503 Service Unavailable", "500 Internal Server Error"}
	urlIn     = regexp.MustCompile(`(?:https?)://[^\s"\\/]+`)
)

func judgePull(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	hosts := hostConfig(o, p.host)
	// The host that answered: an error names it in the URL it tried.
	asked := ""
	if u, err := url.Parse(urlIn.FindString(p.message)); err == nil {
		asked = u.Host
	}
	origin := hasOrigin(hosts, p.host)
	elsewhere := hosts != nil && asked != "" && asked != p.host && (isMirror(hosts, asked) || urlHost(hosts.Server) == asked)
	failed := facts.Has(p.message, tlsTexts...) || facts.Has(p.message, netTexts...)
	switch {
	case p.invalid || facts.Has(p.message, "couldn't parse image", "invalid reference format", "Failed to apply default image tag"):
		return tagNotFound(h, p)
	case hosts != nil && hosts.Error != "":
		return mirror(h, p, hosts, fmt.Sprintf("%s cannot be read: %s", hosts.Path, hosts.Error))
	// Where the registry itself does not answer either, the mirror is the way that is meant, and what ails is the mirror.
	case elsewhere && failed && origin && answers(hosts, true):
		return mirror(h, p, hosts, "the mirror "+asked+" fails: it stands before "+p.host, asked)
	case elsewhere && failed && answers(hosts, false):
		return mirror(h, p, hosts, "every pull is sent to "+asked+", which fails; "+p.host+" itself is never asked, and answers", asked)
	case facts.Has(p.message, authTexts...) && !facts.Has(p.message, "x509:"):
		return auth(h, p)
	case facts.Has(p.message, tlsTexts...) && !strings.Contains(p.message, "TLS handshake timeout"):
		return untrusted(h, p, hosts, asked)
	case facts.Has(p.message, netTexts...):
		return unreachable(h, p, asked)
	case facts.Has(p.message, ": not found", "not found", "manifest unknown", "404", "name unknown"):
		// The origin's 404 outranks what a mirror before it said.
		if broken := brokenMirror(hosts); broken != nil && origin && urlHost(broken.URL) != p.host {
			return mirror(h, p, hosts, fmt.Sprintf("the mirror %s does not work (%s %s), so only the origin's \"not found\" is told", broken.URL, broken.Reach, broken.ReachError), urlHost(broken.URL))
		}
		return tagNotFound(h, p)
	}
	return nil
}

// answers tells whether the registry itself was reached from the node; untold when that was not tried.
func answers(r *v1alpha1.RegistryHost, untold bool) bool {
	if r.Origin == nil || r.Origin.Reach == "" {
		return untold
	}
	return r.Origin.Reach == "ok"
}

func hostConfig(o *v1alpha1.Observation, host string) *v1alpha1.RegistryHost {
	for _, name := range []string{host, "_default"} {
		for i := range o.Registries {
			if o.Registries[i].Host == name {
				return &o.Registries[i]
			}
		}
	}
	return nil
}

func isMirror(r *v1alpha1.RegistryHost, host string) bool {
	return slices.ContainsFunc(r.Mirrors, func(m v1alpha1.RegistryMirror) bool { return urlHost(m.URL) == host })
}

// hasOrigin: the runtime would go on to the registry itself, or to a server named as such, after its mirrors.
func hasOrigin(r *v1alpha1.RegistryHost, host string) bool {
	if r == nil {
		return false
	}
	if r.Server == "" {
		return true
	}
	origin := urlHost(r.Server)
	return origin == host || !isMirror(r, origin)
}

func urlHost(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
}

func brokenMirror(r *v1alpha1.RegistryHost) *v1alpha1.RegistryMirror {
	if r == nil {
		return nil
	}
	for i := range r.Mirrors {
		if m := &r.Mirrors[i]; m.Reach != "" && m.Reach != "ok" {
			return m
		}
	}
	return nil
}

// retry has the waiting pods made again: a new pod has no back-off. Others retry within five minutes.
func retry(p pull) []v1alpha1.Step {
	var steps []v1alpha1.Step
	for _, w := range p.waiting {
		steps = append(steps, facts.RenewPod(w.Pod, "the same pod again, without the back-off of up to five minutes")...)
	}
	return steps
}

// untrusted: the registry's certificate does not verify on this node.
func untrusted(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost, asked string) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: "registry-tls", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence}}
	server := p.host
	if asked != "" {
		server = asked
	} else if m := lacksCA(hosts); m != nil {
		server = urlHost(m.URL) // nobody was asked: the runtime could not read the CA that it names for this one
	}
	var seen *v1alpha1.RegistryMirror
	if hosts != nil {
		for i := range hosts.Mirrors {
			if m := &hosts.Mirrors[i]; urlHost(m.URL) == server {
				seen = m
			}
		}
	}
	if seen != nil && !seen.NotAfter.IsZero() {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("%s shows %s, issued by %s, valid %s to %s (%s)", seen.URL, seen.Subject, seen.Issuer, seen.NotBefore.Format(time.DateOnly), seen.NotAfter.Format(time.DateOnly), seen.Reach)))
	}
	if note := missingSecret(o, p); note != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", note+": once TLS is right, the registry may ask for it"))
	}
	var reach string
	if seen != nil {
		reach = seen.Reach
	}
	switch {
	case facts.Has(p.message, "certificate has expired", "not yet valid") || reach == "tls-expired":
		f.Summary = "the certificate of registry " + server + " is not valid now"
		f.ManualAction = "the registry's owner has to renew its certificate; check the chain with `openssl s_client -connect " + server + " </dev/null | openssl x509 -noout -dates`, and this node's clock with `timedatectl`"
		return f
	case facts.Has(p.message, "certificate is valid for", "doesn't contain any IP SANs", "not valid for any names", "cannot validate certificate for") || reach == "tls-name":
		f.Summary = "the certificate of registry " + server + " is for another name"
		f.ManualAction = "pull by the name the certificate is for, or have it issued for " + server
		return f
	case facts.Has(p.message, "server gave HTTP response to HTTPS client"):
		f.Summary = "registry " + server + " speaks HTTP, and the runtime expects TLS"
		f.ManualAction = "give the registry a certificate; plain HTTP by `http://` in certs.d lets anybody between put in an image of his own"
		return f
	}
	f.Summary = "the certificate of registry " + server + " is signed by nobody this node trusts"
	if hosts != nil && len(hosts.MissingCAs) > 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, hosts.Path+" names "+strings.Join(hosts.MissingCAs, ", ")+", which is not there"))
	}
	u, err := url.Parse("https://" + server)
	if err != nil {
		f.ManualAction = "the host of that registry, " + server + ", is none to connect to"
		return f
	}
	// The host's own place in hosts.toml may name a CA that is not there, or a wrong one: there the right one belongs.
	had := casFor(hosts, server)
	there := present(hosts, had)
	ca, named := path.Join(ownDir(o, hosts, p.host), "ca.crt"), false
	switch {
	case shared(hosts, p.host, server):
		ca = path.Join(path.Dir(hosts.Path), "ca.crt")
	case hosts != nil && isDefault(hosts):
		ca = path.Join(path.Dir(ca), "server.crt") // beside the files of _default, which come along
	}
	for _, c := range append(slices.DeleteFunc(slices.Clone(had), func(c string) bool { return slices.Contains(there, c) }), there...) {
		if strings.HasPrefix(c, certsDir+"/") {
			ca, named = c, true
			break
		}
	}
	connect := u.Host
	if u.Port() == "" {
		connect += ":443"
	}
	steps := []v1alpha1.Step{detectors.Destructive(detectors.EditFile(v1alpha1.Destructive, o.Node,
		"look at the chain the registry shows and trust its topmost certificate: compare its fingerprint, printed here, with the registry's owner",
		trustChain(connect, u.Hostname(), ca), ca), "trusts whoever answers as "+connect+" now")}
	// A file that is named and not there is an error of every pull.
	if want := append(slices.DeleteFunc(slices.Clone(there), func(c string) bool { return c == ca }), ca); !named || len(want) != len(had) {
		file, script := nameCA(o, hosts, p.host, server, want)
		steps = append(steps, detectors.EditFile(v1alpha1.Safe, o.Node, "have the runtime use that CA for this registry; it reads the file at every pull, no restart is needed", script, file))
	}
	f.Remedy = facts.Place(o).NewRemedy("trust-registry", append(steps, retry(p)...)...)
	return f
}

// nameCA is a script that has hosts.toml name the CAs for the server that was asked.
func nameCA(o *v1alpha1.Observation, hosts *v1alpha1.RegistryHost, host, server string, cas []string) (file, script string) {
	file = path.Join(ownDir(o, hosts, host), "hosts.toml")
	if hosts == nil || hosts.Path == "" || hosts.Error != "" {
		return file, writeFile(file, fmt.Sprintf("ca = [%s]\n", quotedList(cas)))
	}
	edit := hostsEdit{url: mirrorURL(hosts, server), orServer: !isMirror(hosts, server) || server == host || server == urlHost(hosts.Server), cas: cas}
	if !isDefault(hosts) || shared(hosts, host, server) {
		return hosts.Path, edit.script(hosts.Path)
	}
	// The registry has nothing of its own: a file that all others share is no place for its CA.
	return file, fmt.Sprintf("mkdir -p %[2]s\ncp -an %[1]s/. %[2]s/\n", detectors.Quote(path.Dir(hosts.Path)), detectors.Quote(path.Dir(file))) + edit.script(file)
}

// shared: the server is a mirror for all registries that have nothing of their own.
func shared(r *v1alpha1.RegistryHost, host, server string) bool {
	return r != nil && isDefault(r) && isMirror(r, server) && server != host
}

func mirrorURL(r *v1alpha1.RegistryHost, host string) string {
	for _, m := range r.Mirrors {
		if urlHost(m.URL) == host {
			return m.URL
		}
	}
	return "https://" + host
}

// lacksCA is the first host of the file with a CA that is not there, nil where there is none.
func lacksCA(r *v1alpha1.RegistryHost) *v1alpha1.RegistryMirror {
	if r == nil {
		return nil
	}
	for i, m := range r.Mirrors {
		if slices.ContainsFunc(m.CAs, func(c string) bool { return slices.Contains(r.MissingCAs, c) }) {
			return &r.Mirrors[i]
		}
	}
	return nil
}

// missingSecret names a pull secret that a waiting pod refers to and that is not there.
func missingSecret(o *v1alpha1.Observation, p pull) string {
	for _, w := range p.waiting {
		for _, ref := range w.Pod.Spec.ImagePullSecrets {
			for _, s := range o.API.PullSecrets {
				if s.Namespace == w.Pod.Namespace && s.Name == ref.Name && !s.Exists {
					return fmt.Sprintf("pod %s/%s names the pull secret %s, which does not exist", w.Pod.Namespace, w.Pod.Name, ref.Name)
				}
			}
		}
	}
	return ""
}

// auth: the registry wants a credential.
func auth(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: "registry-auth", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "registry " + p.host + " wants a credential that the pod does not bring"}
	pod := p.waiting[0].Pod
	var fits string
	for _, s := range o.API.PullSecrets {
		if s.Namespace != pod.Namespace || !s.Exists {
			continue
		}
		if slices.ContainsFunc(s.Hosts, func(x string) bool { return sameRegistry(x, p.host) }) {
			fits = s.Name
		}
	}
	refs := pod.Spec.ImagePullSecrets
	switch note := missingSecret(o, p); {
	case note != "":
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", note))
		f.Summary = "registry " + p.host + " wants a credential: " + note
	case len(refs) == 0:
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("pod %s/%s names no pull secret", pod.Namespace, pod.Name)))
	default:
		for _, ref := range refs {
			for _, s := range o.API.PullSecrets {
				if s.Namespace == pod.Namespace && s.Name == ref.Name && s.Exists {
					f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("pull secret %s/%s is for %s", s.Namespace, s.Name, strings.Join(s.Hosts, ", "))))
				}
			}
		}
	}
	if p.host == "docker.io" && len(refs) == 0 && strings.Contains(p.message, words.RepositoryMayRequire) {
		f.Certainty = v1alpha1.Likely
		f.ToConfirm = "whether the repository exists: Docker Hub gives the same answer for a missing one"
	}
	if fits == "" || slices.ContainsFunc(refs, func(r corev1.LocalObjectReference) bool { return r.Name == fits }) {
		f.ManualAction = fmt.Sprintf("nobody but its owner has the credential: `kubectl -n %s create secret docker-registry NAME --docker-server=%s …`, and name it in imagePullSecrets", pod.Namespace, p.host)
		if fits != "" {
			f.ManualAction = fmt.Sprintf("the pod brings secret %s for %s, and the registry refuses it: its owner has to correct the credential", fits, p.host)
		}
		return f
	}
	steps, reason, ok := facts.ChangePod(pod, fmt.Sprintf("secret %s of the namespace holds a credential for %s: have the pod bring it", fits, p.host),
		map[string]any{"imagePullSecrets": []any{map[string]string{"name": fits}}})
	if !ok {
		f.ManualAction = reason
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("bring-credential", steps...)
	return f
}

func sameRegistry(a, b string) bool {
	a, b = urlHost(a), urlHost(b)
	a, _, _ = strings.Cut(a, "/")
	docker := func(s string) bool { return s == "docker.io" || s == "index.docker.io" || s == "registry-1.docker.io" }
	return a == b || docker(a) && docker(b)
}

// tagNotFound: the registry answers, and does not have it.
func tagNotFound(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: "tag-not-found", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "the registry has no " + p.image}
	if p.invalid {
		f.Summary = p.image + " is no image reference"
	}
	repo := repository(canonical(p.image))
	var have []string
	for _, i := range o.Runtime.Images {
		for _, t := range i.Tags {
			if repository(t) == repo && !strings.Contains(t, "@") && t != canonical(p.image) {
				have = append(have, t)
			}
		}
	}
	slices.Sort(have)
	w := p.waiting[0]
	right, why := "", ""
	switch sibling := runs(o, w); {
	case sibling != nil:
		right, why = sibling.Spec.Image, "the tag of before this rollout, which still runs: what `kubectl rollout undo` goes back to"
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", sibling.Where()+" runs "+right))
	case len(have) > 0:
		right, why = have[len(have)-1], "the tag this node has of the same repository; the application's owner should confirm it"
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceImages, "the node has "+strings.Join(have, ", ")))
	default:
		f.ManualAction = "which tag is meant is for the application's owner to say; a Deployment's last working one comes back with `kubectl rollout undo`"
		return f
	}
	kind, apiVersion, name := facts.Owner(w.Pod)
	key := "containers"
	if w.Init {
		key = "initContainers"
	}
	spec := fmt.Sprintf(`{"%s":[{"name":%q,"image":%q}]}`, key, w.Spec.Name, right)
	patch := fmt.Sprintf(`{"spec":%s}`, spec)
	switch kind {
	case "Pod":
	case "Deployment", "DaemonSet", "StatefulSet":
		patch = fmt.Sprintf(`{"spec":{"template":{"spec":%s}}}`, spec)
	default:
		f.ManualAction = "the pod belongs to " + kind + " " + name + ": correct the image there"
		return f
	}
	if facts.Static(w.Pod) {
		f.ManualAction = "the pod is static: correct the image in its manifest under /etc/kubernetes/manifests"
		return f
	}
	steps := []v1alpha1.Step{detectors.PatchOwner(v1alpha1.ObjectRef{Kind: kind, Namespace: w.Pod.Namespace, Name: name}, apiVersion, "", patch, why)}
	if kind == "StatefulSet" {
		steps = append(steps, detectors.EvictPod(w.Pod.Namespace, w.Pod.Name, "a StatefulSet waits for its broken pod for ever"))
	}
	f.Remedy = facts.Place(o).NewRemedy("correct-tag", steps...)
	return f
}

// runs finds the same container in another pod of the same owner that runs another image: the state of before a rollout.
func runs(o *v1alpha1.Observation, w facts.ContainerOf) *facts.ContainerOf {
	if kind, _, _ := facts.Owner(w.Pod); kind == "Pod" || kind == "Node" {
		return nil
	}
	for _, p := range facts.Pods(o) {
		if p.UID == w.Pod.UID && p.Name == w.Pod.Name || facts.GroupKey(p) != facts.GroupKey(w.Pod) {
			continue
		}
		for _, c := range facts.Containers(p) {
			if c.Spec.Name == w.Spec.Name && c.Init == w.Init && c.Spec.Image != w.Spec.Image && (c.Status.Ready || c.Status.State.Running != nil) {
				return &c
			}
		}
	}
	return nil
}

// unreachable: the registry cannot be reached from this node.
func unreachable(h v1alpha1.History, p pull, asked string) *v1alpha1.Finding {
	o := h.Last()
	if asked == "" {
		asked = p.host
	}
	f := &v1alpha1.Finding{Cause: "registry-unreachable", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "registry " + asked + " cannot be reached from this node"}
	var steps []v1alpha1.Step
	for _, r := range facts.RulesAgainst(o, facts.Targets(p.message)) {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, r.Text))
		if by, managed := facts.Managed(r); managed {
			f.ManualAction = "the rule is " + by + "'s, which would set it again: allow " + asked + " there"
		} else if argv := facts.Unrule(r.Text); argv != nil {
			steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "this rule keeps the node from "+asked, argv...))
		}
	}
	if hosts := hostConfig(o, p.host); hosts != nil && len(steps) == 0 && asked == p.host {
		for _, m := range hosts.Mirrors {
			if m.Reach != "" {
				f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("connect %s from the node: %s %s", m.URL, m.Reach, m.ReachError)))
			}
		}
	}
	switch {
	case len(steps) == 0 && f.ManualAction != "":
		return f
	case len(steps) == 0:
		f.ManualAction = "nothing on this node explains it: the registry itself, DNS, the firewall or a proxy (systemctl show -p Environment containerd) have to be looked at"
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("open-registry-path", append(steps, retry(p)...)...)
	return f
}

// mirror: what stands before the registry is wrong; bad are the hosts that do not work.
func mirror(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost, what string, bad ...string) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: "mirror-misconfigured", Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "the mirror configuration for " + p.host + " is wrong: " + what}
	f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, hosts.Path+": "+what))
	if l, ok := facts.LastOf(h, "containerd", 6*time.Minute, words.TryingNextHost); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if hosts.Origin != nil && hosts.Origin.URL != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("connect %s from the node: %s %s", hosts.Origin.URL, hosts.Origin.Reach, hosts.Origin.ReachError)))
	}
	f.Remedy = facts.Place(o).NewRemedy("remove-mirror", append([]v1alpha1.Step{removeMirror(o, hosts, p.host, bad)}, retry(p)...)...)
	return f
}

// removeMirror takes the hosts out of the file that do not work, and no more; the file goes where nothing is left of it.
func removeMirror(o *v1alpha1.Observation, hosts *v1alpha1.RegistryHost, host string, bad []string) v1alpha1.Step {
	const reads = "; it reads the file at every pull, no restart is needed"
	if hosts.Error != "" {
		return detectors.MoveAside(o.Node, hosts.Path, "put the file aside, for its owner to mend: the runtime cannot read it either, and asks the registry itself"+reads)
	}
	isBad := func(u string) bool { return slices.Contains(bad, urlHost(u)) }
	// The registry may be signed by the same CA as the mirror was to be: without it nobody would trust it any more.
	cas := present(hosts, hosts.CAs)
	keeps := slices.ContainsFunc(hosts.Mirrors, func(m v1alpha1.RegistryMirror) bool { return !isBad(m.URL) })
	edit := hostsEdit{dropServer: isBad(hosts.Server)}
	for _, m := range hosts.Mirrors {
		if isBad(m.URL) {
			edit.drop = append(edit.drop, m.URL)
		}
	}
	switch {
	case keeps && isDefault(hosts):
		// Its CAs are those of mirrors; what registries are signed by is not known here.
		return detectors.EditFile(v1alpha1.Safe, o.Node, "the runtime leaves this mirror out, for all registries"+reads, edit.script(hosts.Path), hosts.Path)
	case keeps:
		if edit.dropServer {
			edit.cas = cas
		}
		return detectors.EditFile(v1alpha1.Safe, o.Node, "the runtime leaves this mirror out"+reads, edit.script(hosts.Path), hosts.Path)
	case len(cas) > 0 && !isDefault(hosts):
		return detectors.EditFile(v1alpha1.Safe, o.Node, "the runtime asks the registry itself, with the CA that is there"+reads, writeFile(hosts.Path, hostsTOML(host, cas)), hosts.Path)
	}
	return detectors.MoveAside(o.Node, hosts.Path, "without it the runtime asks the registry itself"+reads)
}

// present are those of the CAs that are there.
func present(r *v1alpha1.RegistryHost, cas []string) []string {
	return slices.DeleteFunc(slices.Clone(cas), func(c string) bool { return slices.Contains(r.MissingCAs, c) })
}
