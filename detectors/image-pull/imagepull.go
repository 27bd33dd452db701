// Package imagepull tells why an image cannot be pulled: trust, name, credential, reach, or a mirror in between.
//
// The text of the pull's error is the registry's own answer and names the host that gave it; what connecting from the node
// gives, and what hosts.toml says, tell a mirror's fault from the origin's. A pull that succeeded since is over.
package imagepull

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
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
	answer   answer
	message  string
	evidence v1alpha1.Evidence
	waiting  []facts.ContainerOf
	invalid  bool
	// Of what the image is: a volume of the pod, or the sandbox, whose image the runtime's configuration names; else a container.
	volume, sandbox bool
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
		if _, unread := o.Unreadable(v1alpha1.SourceImages); unread && f.Certainty == v1alpha1.Certain {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the image is there since: `"+facts.Here(o, "crictl images")+"`"
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
	add := func(p pull) {
		p.host, p.answer = registryOf(o, p.image), read(p.message, p.image)
		i := slices.IndexFunc(out, func(x pull) bool { return x.image == p.image })
		if i < 0 {
			out = append(out, p)
			return
		}
		if !slices.ContainsFunc(out[i].waiting, func(x facts.ContainerOf) bool { return x.Pod == p.waiting[0].Pod }) {
			out[i].waiting = append(out[i].waiting, p.waiting[0])
		}
	}
	for _, w := range append(facts.Unpulled(o), facts.Waiting(o, "InvalidImageName", "RegistryUnavailable")...) {
		p := pull{image: w.Spec.Image, waiting: []facts.ContainerOf{w}, invalid: w.Status.State.Waiting.Reason == "InvalidImageName"}
		for _, v := range w.Pod.Spec.Volumes {
			if v.Image != nil && v.Image.Reference != "" && strings.Contains(w.Status.State.Waiting.Message, strconv.Quote(v.Image.Reference)) {
				p.image, p.volume = v.Image.Reference, true
			}
		}
		if p.message, p.evidence = said(h, w, p.image); p.message == "" {
			continue
		}
		if !arrived(o, w, p) {
			add(p)
		}
	}
	for _, f := range facts.CreateFailures(h) {
		pod := facts.Pod(o, f.Namespace, f.Pod)
		if f.Container || pod == nil || len(pod.Spec.Containers) == 0 || !facts.Has(f.Message, " image ", "initializing source docker://") {
			continue
		}
		m := sandboxImage.FindStringSubmatch(f.Message)
		if m == nil {
			continue
		}
		image := m[1] + m[2]
		_, rest, _ := strings.Cut(f.Message, image)
		// The quote that ends the image's name must not begin a quoted stretch: what is quoted is taken for names.
		add(pull{image: image, message: strings.TrimLeft(rest, `\"`), evidence: f.Evidence, sandbox: true,
			waiting: []facts.ContainerOf{{Pod: pod, Spec: &pod.Spec.Containers[0], Status: &corev1.ContainerStatus{}}}})
	}
	return out
}

// arrived: the image is there since, and the back-off ends by itself.
func arrived(o *v1alpha1.Observation, w facts.ContainerOf, p pull) bool {
	again := verifies(o) && (read(p.message, p.image).cause == authCause || othersCredential(o, w.Pod, p.image))
	return has(o, p.image) && (p.volume || w.Spec.ImagePullPolicy != corev1.PullAlways) && !again
}

// sandboxImage is the sandbox's own image in the error of a sandbox: containerd's words, cri-dockerd's, and those of CRI-O, which names
// no other image there.
var sandboxImage = regexp.MustCompile(`(?:sandbox image|pull(?:ing)? image) \\*"([^"\\]+)|initializing source docker://([^\s"]+?):? `)

func has(o *v1alpha1.Observation, image string) bool {
	return slices.ContainsFunc(o.Runtime.Images, func(i v1alpha1.Image) bool {
		return slices.Contains(i.Tags, canonical(image)) || slices.Contains(i.Tags, image)
	})
}

// verifies: since 1.35 a kubelet pulls an image that is on the node again for a pod whose credential it was not pulled with
// (KubeletEnsureSecretPulledImages).
func verifies(o *v1alpha1.Observation) bool { return facts.KubeletMinor(o) >= 35 }

// othersCredential tells that the image runs on the node for a pod with a pull secret that this one does not bring.
func othersCredential(o *v1alpha1.Observation, pod *corev1.Pod, image string) bool {
	return slices.ContainsFunc(o.API.Pods, func(other corev1.Pod) bool {
		if other.UID == pod.UID && other.Name == pod.Name || !slices.ContainsFunc(other.Spec.ImagePullSecrets, func(r corev1.LocalObjectReference) bool {
			return other.Namespace != pod.Namespace || !slices.Contains(pod.Spec.ImagePullSecrets, r)
		}) {
			return false
		}
		return slices.ContainsFunc(other.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.ImageID != "" && canonical(s.Image) == canonical(image)
		})
	})
}

var errIn = regexp.MustCompile(`\berr=("(?:[^"\\]|\\.)*")`)

// said is the newest text about an image that says more than "Back-off pulling image".
func said(h v1alpha1.History, w facts.ContainerOf, image string) (string, v1alpha1.Evidence) {
	o := h.Last()
	s := w.Status.State.Waiting
	for _, e := range facts.Events(o, "Pod", w.Pod.Namespace, w.Pod.Name, time.Hour, "Failed", "InspectFailed") {
		if !strings.HasPrefix(e.Message, "Error: ") && strings.Contains(e.Message, image) && (e.InvolvedObject.UID == "" || e.InvolvedObject.UID == w.Pod.UID) {
			return e.Message, facts.FromEvent(&e)
		}
	}
	if m := strings.TrimPrefix(s.Message, "Back-off pulling image "+strconv.Quote(image)); m != "" {
		return m, facts.Seen(o, "api.pods", w.Where()+" "+s.Reason+": "+s.Message)
	}
	for _, l := range slices.Backward(facts.Lines(h, facts.KubeletUnitName(o), 6*time.Minute)) {
		if !strings.Contains(l.Text, image) || !facts.Has(l.Text, "PullImage", words.FailedToPullImage) {
			continue
		}
		if m := errIn.FindStringSubmatch(l.Text); m != nil {
			if text, err := strconv.Unquote(m[1]); err == nil {
				return text, facts.FromLine(l)
			}
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

// registryOf is the registry that the runtime looks for an image in: CRI-O's configuration says where for one that names none.
func registryOf(o *v1alpha1.Observation, image string) string {
	first, _, more := strings.Cut(image, "/")
	if s := o.Runtime.SearchRegistries; len(s) == 1 && !(more && hostOf(image) == first) {
		return s[0]
	}
	return hostOf(image)
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

// judgePull judges the pulls of one image. Nothing is done about what has no host's name: who chose it hopes for something.
func judgePull(h v1alpha1.History, p pull) *v1alpha1.Finding {
	f := causeOf(h, p)
	for _, host := range []string{p.host, p.answer.asked} {
		if f != nil && host != "" && !detectors.IsHost(host) {
			f.Remedy, f.ManualAction = nil, strconv.QuoteToASCII(host)+" is no name of a host: look at the image's name, and at who chose it"
		}
	}
	return f
}

// elsewhere tells that the answer came from another host than the image's registry, to which the configuration sends pulls of it.
func elsewhere(p pull, hosts *v1alpha1.RegistryHost) bool {
	asked := p.answer.asked
	return hosts != nil && asked != "" && !sameRegistry(asked, p.host) && (isMirror(hosts, asked) || urlHost(hosts.Server) == asked)
}

func causeOf(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	hosts, a := hostConfig(o, p), p.answer
	origin := hasOrigin(hosts, p.host)
	failed := a.cause == tlsCause || a.cause == netCause && a.why != byProxy
	switch {
	case p.invalid:
		return tagNotFound(h, p)
	case a.cause == "":
		return nil
	case undecoded(h, hosts) != "":
		return leftOut(h, p, hosts, undecoded(h, hosts))
	case hosts != nil && hosts.Error != "":
		return mirror(h, p, hosts, fmt.Sprintf("%s cannot be read: %s", hosts.Path, hosts.Error))
	case a.cause == mirrorCause:
		return mirror(h, p, hosts, a.why)
	// Where the registry itself does not answer either, or was not tried, the mirror may be the only way there is.
	case failed && elsewhere(p, hosts) && answers(o, hosts, false):
		what := "every pull is sent to " + a.asked + ", which fails; " + p.host + " itself is never asked, and answers"
		if origin {
			what = "the mirror " + a.asked + " fails: it stands before " + p.host
		}
		return mirror(h, p, hosts, what, a.asked)
	}
	switch a.cause {
	case authCause:
		return auth(h, p)
	case tlsCause:
		return untrusted(h, p, hosts, a.asked)
	case netCause:
		return unreachable(h, p, a.asked)
	}
	return notFound(h, p, hosts)
}

// notFound: the origin's 404 outranks what a mirror before it said. One that this node does not reach by itself was asked through a proxy,
// and so was the mirror.
func notFound(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost) *v1alpha1.Finding {
	if broken := brokenMirror(hosts); broken != nil && hasOrigin(hosts, p.host) && !sameRegistry(broken.URL, p.host) && answers(h.Last(), hosts, true) && p.answer.why == "" {
		return mirror(h, p, hosts, fmt.Sprintf("the mirror %s does not work (%s %s), so only the origin's \"not found\" is told", broken.URL, broken.Reach, broken.ReachError), urlHost(broken.URL))
	}
	return tagNotFound(h, p)
}

// answers tells whether the registry itself was reached from the node; untold when that was not tried. Behind a proxy, what the node
// reaches by itself is not what the runtime reaches.
func answers(o *v1alpha1.Observation, r *v1alpha1.RegistryHost, untold bool) bool {
	if proxied(o, r.Host) {
		return false
	}
	if r.Origin == nil || r.Origin.Reach == "" {
		return untold
	}
	return r.Origin.Reach == "ok"
}

// hostConfig is what the runtime's configuration has for an image: the longest prefix of its name counts, in certs.d a host's directory.
func hostConfig(o *v1alpha1.Observation, p pull) *v1alpha1.RegistryHost {
	ref := p.host + "/" + strings.TrimPrefix(canonical(p.image), hostOf(p.image)+"/")
	var best *v1alpha1.RegistryHost
	weight := func(r *v1alpha1.RegistryHost) int {
		switch {
		case r.Host == "_default":
			return 1
		case strings.HasPrefix(r.Host, "*."):
			return 2
		}
		return 3 + len(r.Prefix)
	}
	for i := range o.Registries {
		r := &o.Registries[i]
		domain, below := strings.CutPrefix(r.Host, "*")
		fits := r.Host == p.host || r.Host == "_default" || below && strings.HasSuffix(p.host, domain)
		if r.Prefix != "" {
			rest, in := strings.CutPrefix(ref, strings.TrimRight(r.Prefix, "/"))
			fits = fits && in && strings.IndexAny(rest, "/:@") == 0
		}
		if fits && (best == nil || weight(r) > weight(best)) {
			best = r
		}
	}
	if best == nil {
		return nil
	}
	r := *best
	unasked := map[bool]string{true: "tag-only", false: "digest-only"}[strings.Contains(p.image, "@")]
	r.Mirrors = slices.DeleteFunc(slices.Clone(r.Mirrors), func(m v1alpha1.RegistryMirror) bool { return m.Pulls == unasked })
	return &r
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
	return sameRegistry(origin, host) || !isMirror(r, origin)
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
	if p.sandbox {
		return nil // the kubelet makes a sandbox again every few seconds
	}
	for _, w := range p.waiting {
		steps = append(steps, facts.RenewPod(w.Pod, "the same pod again, without the back-off of up to five minutes")...)
	}
	return steps
}

// dialled is what the look saw of a server of the configuration, nil where it did not try it.
func dialled(hosts *v1alpha1.RegistryHost, server string) (seen *v1alpha1.RegistryMirror) {
	if hosts == nil {
		return nil
	}
	for i := range hosts.Mirrors {
		if m := &hosts.Mirrors[i]; urlHost(m.URL) == server {
			seen = m
		}
	}
	if seen == nil && hosts.Origin != nil && urlHost(hosts.Origin.URL) == server {
		seen = hosts.Origin
	}
	return seen
}

// badTLS is what is wrong with a registry's TLS that no CA cures, by the runtime's words or by what the look met.
var badTLS = []struct {
	says    []string
	reach   string
	summary string
	todo    string // with {server}, and {address} to connect to
}{
	{[]string{" is before 2"}, "",
		"the certificate of registry {server} is not valid yet by the clock of this node",
		"look at this node's clock first (`timedatectl`): most often it is behind; where it is right, the registry's owner has a certificate made by a clock that is ahead (`openssl s_client -connect {address} </dev/null | openssl x509 -noout -dates`)"},
	{[]string{"certificate has expired", "not yet valid"}, "tls-expired",
		"the certificate of registry {server} is not valid now",
		"the registry's owner has to renew its certificate; check the chain with `openssl s_client -connect {address} </dev/null | openssl x509 -noout -dates`, and this node's clock with `timedatectl`"},
	{[]string{words.CertificateValidFor, "unrecognized name", words.NoIPSANs, words.NotValidForAnyNames, words.CannotValidateFor}, "tls-name",
		"the certificate of registry {server} is for another name",
		"pull by the name the certificate is for, or have it issued for {server}"},
	{[]string{"failed to parse certificate", "relies on legacy Common Name", "unhandled critical extension", "incompatible key usage", "insecure algorithm"}, "",
		"the certificate of registry {server} is made in a way that the runtime does not accept",
		"the registry's owner has to issue it again as the message wants (subject alternative names, a positive serial number, SHA-256, its key usage): `openssl s_client -connect {address} </dev/null | openssl x509 -noout -text`"},
	{[]string{words.HTTPToHTTPS, words.NotATLSRecord}, "",
		"registry {server} speaks HTTP, and the runtime expects TLS",
		"give the registry a certificate; plain HTTP by `http://` in certs.d lets anybody between put in an image of his own"},
	{[]string{"handshake failure", "protocol version", "no cipher suite", "tls: internal error"}, "",
		"registry {server} and the runtime agree on no version or cipher of TLS",
		"the registry's owner has to look at what it offers: `openssl s_client -connect {address} </dev/null`"},
}

// untrusted: the registry's certificate does not verify on this node.
func untrusted(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost, asked string) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: tlsCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence}}
	server := p.host
	if asked != "" {
		server = asked
	} else if m := lacksCA(hosts); m != nil {
		server = urlHost(m.URL) // nobody was asked: the runtime could not read the CA that it names for this one
	}
	seen, reach := dialled(hosts, server), ""
	if seen != nil {
		reach = seen.Reach
	}
	if seen != nil && !seen.NotAfter.IsZero() {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("%s shows %s, issued by %s, valid %s to %s (%s)", seen.URL, seen.Subject, seen.Issuer, seen.NotBefore.Format(time.DateOnly), seen.NotAfter.Format(time.DateOnly), seen.Reach)))
	}
	if note := missingSecret(o, p); note != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", note+": once TLS is right, the registry may ask for it"))
	}
	in := strings.NewReplacer("{server}", server, "{address}", detectors.Quote(connectTo(server)))
	for _, bad := range badTLS {
		if facts.Has(p.answer.text, bad.says...) || bad.reach != "" && reach == bad.reach {
			f.Summary, f.ManualAction = in.Replace(bad.summary), in.Replace(bad.todo)
			return f
		}
	}
	f.Summary = "the certificate of registry " + server + " is signed by nobody this node trusts"
	if hosts != nil && len(hosts.MissingCAs) > 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, hosts.Path+" names "+strings.Join(hosts.MissingCAs, ", ")+", which is not there"))
	}
	if elsewhere(p, hosts) {
		f.Summary += "; " + hosts.Path + " sends the pulls of " + p.host + " there"
	}
	u, err := url.Parse("https://" + server)
	if err != nil {
		f.ManualAction = "the host of that registry, " + server + ", is none to connect to"
		return f
	}
	if file, why := managed(o, hosts, p.host); why != "" {
		f.ManualAction = "have the runtime trust the registry's CA in " + file + ": " + why
		return f
	}
	connect := connectTo(u.Host)
	vouched, by := vouchedFor(o, seen)
	if vouched == nil {
		f.ManualAction = unvouched(connect, u.Hostname(), seen)
		if ca, _ := placeFor(o, p.host, hosts, server); !hasHostsTOML(o) {
			f.ManualAction += "; this runtime takes it from " + path.Dir(ca)
		}
		return f
	}
	f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, vouched.Subject+" (sha256:"+vouched.SHA256+") "+by))
	ca, want := placeFor(o, p.host, hosts, server)
	steps := []v1alpha1.Step{trustCA(o.Node, "have the registry's CA trusted that "+by+", if the registry verifies by it",
		connect, u.Hostname(), *vouched, ca)}
	if len(want) > 0 {
		steps = append(steps, nameCA(o, hosts, p.host, server, want))
	}
	f.Remedy = facts.Place(o).NewRemedy("trust-registry", append(steps, retry(p)...)...)
	return f
}

// unvouched is what is left to a person where nobody vouches for a certificate.
func unvouched(connect, name string, seen *v1alpha1.RegistryMirror) string {
	shows := "openssl s_client -showcerts -connect " + detectors.Quote(connect) + " -servername " + detectors.Quote(name) + " </dev/null"
	todo := "nobody whom this node or you trust vouches for that certificate. See the chain with `" + shows + "`, ask the registry's owner for the fingerprint of its CA, and where it is the same " +
		"let the node trust it with `sickbay diagnose --fix --trust-ca sha256:FINGERPRINT`, or by the owner's file with `--trust-ca FILE`"
	if seen != nil && len(seen.Chain) > 0 {
		top := seen.Chain[len(seen.Chain)-1]
		todo += "; the topmost certificate that was shown is " + top.Subject + ", issued by " + top.Issuer + ", sha256:" + top.SHA256
	}
	return todo
}

// placeFor is the file that the registry's CA goes to, and the files that hosts.toml has to name then, where it does not: one that is
// named and not there is an error of every pull.
func placeFor(o *v1alpha1.Observation, host string, hosts *v1alpha1.RegistryHost, server string) (ca string, want []string) {
	// The host's own place in hosts.toml may name a CA that is not there, or a wrong one: there the right one belongs.
	had := casFor(hosts, server)
	there := present(hosts, had)
	ca = path.Join(ownDir(o, hosts, host), "ca.crt")
	switch {
	case !hasHostsTOML(o):
		// The folder is that of the host that is asked, and of two folders the first one that there is counts.
		if ca = path.Join(ownDir(o, hosts, server), "ca.crt"); len(there) > 0 {
			ca = path.Join(path.Dir(there[0]), "ca.crt")
		}
		return ca, nil
	case shared(hosts, host, server):
		ca = path.Join(path.Dir(hosts.Path), "ca.crt")
	case hosts != nil && isDefault(hosts):
		ca = path.Join(path.Dir(ca), "server.crt") // beside the files of _default, which come along
	}
	missing := slices.DeleteFunc(slices.Clone(had), func(c string) bool { return slices.Contains(there, c) })
	named := slices.Concat(missing, there)
	i := slices.IndexFunc(named, func(c string) bool { return strings.HasPrefix(c, certsDir+"/") })
	if i >= 0 {
		ca = named[i]
	}
	want = append(slices.DeleteFunc(slices.Clone(there), func(c string) bool { return c == ca }), ca)
	if i >= 0 && len(want) == len(had) {
		return ca, nil
	}
	return ca, want
}

// vouchedFor is the CA that somebody vouches for who is trusted already: by a file of the node, or the operator by his word.
func vouchedFor(o *v1alpha1.Observation, seen *v1alpha1.RegistryMirror) (ca *v1alpha1.TrustedCA, by string) {
	var chain []v1alpha1.ShownCertificate
	if seen != nil {
		chain = seen.Chain
	}
	for _, t := range o.TrustedCAs { // where the chain was not seen, the step takes only what verifies
		if len(chain) == 0 || slices.ContainsFunc(chain, func(c v1alpha1.ShownCertificate) bool { return c.SHA256 == t.SHA256 }) ||
			t.DER != "" && t.Subject == chain[len(chain)-1].Issuer {
			return &t, "the operator vouches for (--trust-ca)"
		}
	}
	if len(chain) > 0 && seen.Known != nil {
		return seen.Known, "this node has in " + seen.Known.Path
	}
	return nil, ""
}

// connectTo is a server with its port.
func connectTo(server string) string {
	if u, err := url.Parse("https://" + server); err == nil && u.Port() == "" {
		return server + ":443"
	}
	return server
}

// nameCA has hosts.toml name the CAs for the server that was asked.
func nameCA(o *v1alpha1.Observation, hosts *v1alpha1.RegistryHost, host, server string, cas []string) v1alpha1.Step {
	const why = "have the runtime use that CA for this registry; it reads the file at every pull, no restart is needed"
	file, from := path.Join(ownDir(o, hosts, host), "hosts.toml"), ""
	if hosts == nil || hosts.Path == "" || hosts.Error != "" {
		return writeHosts(o.Node, why, file, "", cas)
	}
	edit := hostsEdit{url: mirrorURL(hosts, server), orServer: !isMirror(hosts, server) || server == host || server == urlHost(hosts.Server), cas: cas}
	if !isDefault(hosts) || shared(hosts, host, server) {
		file = hosts.Path
	} else { // the registry has nothing of its own: a file that all others share is no place for its CA
		from = path.Dir(hosts.Path)
	}
	return edit.step(o.Node, why, file, from)
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

// notLetIn are a registry's words for a firewall of its own, in Azure's answer.
var notLetIn = regexp.MustCompile(`client with IP \S+ is not allowed access`)

// auth: the registry wants a credential.
func auth(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: authCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "registry " + p.host + " wants a credential that the pod does not bring"}
	if p.answer.unsure != "" {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, p.answer.unsure
	}
	if p.answer.why != "" {
		f.Summary = "registry " + p.host + " " + p.answer.why
	}
	if has(o, p.image) {
		f.Summary += "; the image is on the node, pulled for another pod"
	}
	pod := p.waiting[0].Pod
	fits, named := secrets(o, p)
	refs := pod.Spec.ImagePullSecrets
	switch note := missingSecret(o, p); {
	case note != "":
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", note))
		f.Summary += ": " + note
	case len(refs) == 0:
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("pod %s/%s names no pull secret", pod.Namespace, pod.Name)))
	default:
		f.Evidence = append(f.Evidence, named...)
	}
	brought := slices.IndexFunc(fits, func(n string) bool {
		return slices.ContainsFunc(refs, func(r corev1.LocalObjectReference) bool { return r.Name == n })
	})
	switch {
	case p.sandbox:
		f.ManualAction = "the image is the sandbox's, which no pod's secret is asked for: " + sandboxConfig(o, p)
	case notLetIn.MatchString(p.message):
		f.Certainty, f.ToConfirm, f.Summary = v1alpha1.Certain, "", "registry "+p.host+" does not let in the address that this node comes from"
		f.ManualAction = "the registry's owner has to let in this address, which the message names, or to give this network a private way to the registry (a private endpoint, a service endpoint)"
	case p.answer.why == byPolicy:
		f.ManualAction = "no credential helps: the registry's owner has to lift the block (a scan that is pending or found something, an allowlist of CVEs), or the image's owner to push one that passes"
	case strings.Contains(p.answer.why, "client certificate"):
		f.ManualAction = "the registry's owner has to issue a client certificate; hosts.toml names it for " + p.host + " (client = …)"
	case brought >= 0:
		f.ManualAction = fmt.Sprintf("the pod brings secret %s for %s, and the registry refuses it: its owner has to correct the credential", fits[brought], p.host)
	case len(fits) > 1:
		f.ManualAction = fmt.Sprintf("the secrets %s of the namespace are all for %s: their owners have to say which the pod may bring in imagePullSecrets", strings.Join(fits, ", "), p.host)
	case len(fits) == 0:
		f.ManualAction = fmt.Sprintf("nobody but its owner has the credential: `kubectl -n %s create secret docker-registry NAME --docker-server=%s …`, and name it in imagePullSecrets", detectors.Quote(pod.Namespace), detectors.Quote(p.host))
	default:
		steps, reason, ok := facts.ChangePod(pod, fmt.Sprintf("secret %s of the namespace holds a credential for %s: have the pod bring it", fits[0], p.host),
			map[string]any{"imagePullSecrets": []any{map[string]string{"name": fits[0]}}})
		if !ok {
			f.ManualAction = reason
			break
		}
		f.Remedy = facts.Place(o).NewRemedy("bring-credential", steps...)
	}
	return f
}

// secrets are the names of those of the pod's namespace that fit the image, and what those that the pod names are for.
func secrets(o *v1alpha1.Observation, p pull) (fits []string, named []v1alpha1.Evidence) {
	pod := p.waiting[0].Pod
	there := slices.DeleteFunc(slices.Clone(o.API.PullSecrets), func(s v1alpha1.PullSecret) bool { return s.Namespace != pod.Namespace || !s.Exists })
	for _, s := range there {
		if slices.ContainsFunc(s.Hosts, func(x string) bool { return secretFor(x, p) }) {
			fits = append(fits, s.Name)
		}
	}
	for _, ref := range pod.Spec.ImagePullSecrets {
		for _, s := range there {
			if s.Name == ref.Name {
				named = append(named, facts.Seen(o, "api.pods", fmt.Sprintf("pull secret %s/%s is for %s", s.Namespace, s.Name, strings.Join(s.Hosts, ", "))))
			}
		}
	}
	return fits, named
}

// secretFor tells whether a secret's entry is for the image: its host, and where the entry has a path the repositories below it.
func secretFor(entry string, p pull) bool {
	entry = strings.TrimPrefix(strings.TrimPrefix(entry, "https://"), "http://")
	_, below, _ := strings.Cut(strings.Trim(entry, "/"), "/")
	if below == "v1" || below == "v2" { // https://index.docker.io/v1/
		below = ""
	}
	repo := strings.TrimPrefix(repository(canonical(p.image)), p.host+"/")
	return sameRegistry(entry, p.host) && (below == "" || repo == below || strings.HasPrefix(repo, below+"/"))
}

// sandboxConfig says where the sandbox's image is set, and what of it the node has.
func sandboxConfig(o *v1alpha1.Observation, p pull) string {
	name := path.Base(repository(p.image))
	var have []string
	for _, i := range o.Runtime.Images {
		for _, t := range i.Tags {
			if path.Base(repository(t)) == name {
				have = append(have, t)
			}
		}
	}
	where := "the runtime's configuration"
	if o.Runtime.ConfigFile.Path != "" {
		where = o.Runtime.ConfigFile.Path
	}
	out := where + " names " + p.image + " for every sandbox"
	if len(have) > 0 {
		slices.Sort(have)
		out += ", and the node has " + strings.Join(slices.Compact(have), ", ")
	}
	return out
}

func sameRegistry(a, b string) bool {
	a, b = urlHost(a), urlHost(b)
	a, _, _ = strings.Cut(a, "/")
	docker := func(s string) bool { return s == "docker.io" || s == "index.docker.io" || s == "registry-1.docker.io" }
	return a == b || docker(a) && docker(b)
}

// pushAgain is how, or why, an image that is there and of no use has to be pushed again.
var pushAgain = map[string]string{
	otherFormat: ", as an image of schema 2 or OCI",
	incomplete:  ": the registry lost a layer (its garbage collection, a cache that was cut off), or was never sent it",
}

// tagNotFound: the registry answers, and does not have it.
func tagNotFound(h v1alpha1.History, p pull) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: tagCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "the registry has no " + p.image}
	switch {
	case p.invalid:
		f.Summary = p.image + " is no image reference"
	case p.answer.why != "":
		f.Summary = p.image + " " + p.answer.why
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
	if len(have) > 0 {
		slices.Sort(have)
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceImages, "the node has "+strings.Join(have, ", ")))
	}
	w := p.waiting[0]
	sibling := runs(o, w)
	switch {
	case p.sandbox:
		f.ManualAction = sandboxConfig(o, p) + ": name one there that the registry has, and restart the runtime"
		return f
	case p.answer.why == otherPlatform:
		f.Summary += " (" + o.Host.Arch + ")"
		f.ManualAction = "the image's owner has to build it for this platform, or the pod has to go to nodes of another (nodeSelector kubernetes.io/arch)"
		return f
	case pushAgain[p.answer.why] != "":
		f.ManualAction = "the image's owner has to push it again" + pushAgain[p.answer.why]
		return f
	case sibling == nil || p.volume:
		f.ManualAction = "which tag is meant is for the application's owner to say; a Deployment's last working one comes back with `kubectl rollout undo`"
		return f
	}
	// Only what the same application runs is known to be right: another version on the node may be another application's.
	right, why := sibling.Spec.Image, "the tag of before this rollout, which still runs: what `kubectl rollout undo` goes back to"
	f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", sibling.Where()+" runs "+right))
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
	f := &v1alpha1.Finding{Cause: netCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "registry " + asked + " cannot be reached from this node"}
	proxy := cmp.Or(o.Runtime.Environment.HTTPSProxy, o.Runtime.Environment.HTTPProxy)
	switch a := p.answer; {
	case a.unsure != "":
		f.Certainty, f.ToConfirm = v1alpha1.Likely, a.unsure
		fallthrough
	case a.why != "":
		f.Summary = strings.TrimSpace("registry " + asked + " " + a.why + " " + map[bool]string{true: proxy}[a.why == byProxy])
	case a.token:
		f.Summary = asked + ", which gives out tokens for registry " + p.host + ", cannot be reached from this node"
	}
	if proxy != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntime, "the runtime's environment names the proxy "+proxy+", and for no proxy "+cmp.Or(o.Runtime.Environment.NoProxy, "nothing")))
	} else if other := o.Kubelet.Environment.HTTPSProxy; other != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntime, "the kubelet's environment names the proxy "+other+", the runtime's none: it is the runtime that pulls"))
	}
	rules := facts.RulesAgainst(o, facts.Targets(p.message))
	for _, r := range rules {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceNetwork, r.Text))
	}
	steps := facts.TakeOut(o, rules, "this rule keeps the node from "+asked, asked, f)
	if hosts := hostConfig(o, p); hosts != nil && len(steps) == 0 && asked == p.host {
		for _, m := range hosts.Mirrors {
			if m.Reach != "" {
				f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("connect %s from the node: %s %s", m.URL, m.Reach, m.ReachError)))
			}
		}
	}
	if what, todo, ev := facts.NoConnections(h, p.message); what != "" && len(steps) == 0 {
		f.Summary += ": " + what
		f.Evidence, f.ManualAction = append(f.Evidence, ev...), todo
	}
	switch {
	case len(steps) > 0:
		f.Remedy = facts.Place(o).NewRemedy("open-registry-path", append(steps, retry(p)...)...)
	case f.ManualAction == "":
		f.ManualAction = whereToLook(o, p)
		if hosts := hostConfig(o, p); elsewhere(p, hosts) && hosts.Path != "" {
			f.Summary += "; " + hosts.Path + " sends the pulls of " + p.host + " there"
			f.ManualAction = "correct " + hosts.Path + " if " + asked + " is not to be asked any more; else " + f.ManualAction
		}
	}
	return f
}

// whereToLook is what is left to a person where nothing on the node explains why the registry is not reached.
func whereToLook(o *v1alpha1.Observation, p pull) string {
	unit := facts.Runtime(o).UnitName()
	out := "nothing on this node explains it: the registry itself, DNS, the firewall or a proxy (`systemctl show -p Environment -- " + detectors.Quote(unit) + "`) have to be looked at"
	if p.answer.why == byProxy {
		out = "look at the proxy, and at where " + unit + " is told of it: `systemctl show -p Environment -- " + detectors.Quote(unit) + "`, NO_PROXY for registries inside"
	}
	if p.sandbox {
		out = sandboxConfig(o, p) + "; " + out
	}
	return out
}

// mirror: what stands before the registry is wrong; bad are the hosts that do not work.
func mirror(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost, what string, bad ...string) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: mirrorCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence},
		Summary: "the mirror configuration for " + p.host + " is wrong: " + what}
	if what == isBlocked {
		f.Summary = "registry " + p.host + " " + what
	}
	if hosts == nil {
		f.ManualAction = "the file that the error names is for its owner to mend"
		return f
	}
	f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, hosts.Path+": "+what))
	if l, ok := facts.LastOf(h, facts.RuntimeLog, 6*time.Minute, words.TryingNextHost); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if hosts.Origin != nil && hosts.Origin.URL != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRegistries, fmt.Sprintf("connect %s from the node: %s %s", hosts.Origin.URL, hosts.Origin.Reach, hosts.Origin.ReachError)))
	}
	if file, why := managed(o, hosts, p.host); why != "" {
		f.ManualAction = "correct the mirror in " + file + ": " + why
		return f
	}
	if !hasHostsTOML(o) {
		if !strings.Contains(f.Summary, hosts.Path) {
			f.Summary += "; it stands in " + hosts.Path
		}
		f.ManualAction = "correct " + hosts.Path + ", which CRI-O reads again at `systemctl reload crio`; where it is written from the cluster (OpenShift: ImageDigestMirrorSet, ImageTagMirrorSet, image.config), correct it there"
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("remove-mirror", append([]v1alpha1.Step{removeMirror(o, hosts, p.host, bad)}, retry(p)...)...)
	return f
}

// undecoded is why containerd left a hosts.toml out that this look could read, as its log says. It goes on with the certificates in the
// folder alone (core/remotes/docker/config/hosts.go).
func undecoded(h v1alpha1.History, hosts *v1alpha1.RegistryHost) string {
	if hosts == nil || hosts.Error != "" || !hasHostsTOML(h.Last()) {
		return ""
	}
	l, ok := undecodedLine(h, hosts)
	if m := errorIn.FindStringSubmatch(l.Text); ok && m != nil {
		return m[1]
	}
	return ""
}

// undecodedLine is where it says so: before its version 2 it names no file.
func undecodedLine(h v1alpha1.History, hosts *v1alpha1.RegistryHost) (v1alpha1.LogLine, bool) {
	return facts.LastOf(h, facts.RuntimeLog, 6*time.Minute, words.HostsTOMLNotDecoded, words.HostsFileNotDecoded+hosts.Path+`"`)
}

var errorIn = regexp.MustCompile(`error="((?:[^"\\]|\\.)*)"`)

// leftOut: the runtime cannot use the registry's hosts.toml, and pulls as if it were not there.
func leftOut(h v1alpha1.History, p pull, hosts *v1alpha1.RegistryHost, why string) *v1alpha1.Finding {
	o := h.Last()
	l, _ := undecodedLine(h, hosts)
	f := &v1alpha1.Finding{Cause: mirrorCause, Certainty: v1alpha1.Certain, Evidence: []v1alpha1.Evidence{p.evidence, facts.FromLine(l)},
		Summary:      "the runtime leaves " + hosts.Path + " out, and asks " + p.host + " without its CAs and mirrors: " + why,
		ManualAction: "mend " + hosts.Path + ": its settings stand in tables [host.\"https://…\"], and a containerd that calls the `host` tree invalid wants at least an empty [host]"}
	if len(o.Registries) > 1 && strings.Contains(l.Text, words.HostsTOMLNotDecoded) {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "which hosts.toml is meant: the runtime's log names none"
	}
	if file, reason := managed(o, hosts, p.host); reason != "" {
		f.ManualAction = "correct it in " + file + ": " + reason
	}
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
		return edit.step(o.Node, "the runtime leaves this mirror out, for all registries"+reads, hosts.Path, "")
	case keeps:
		if edit.dropServer {
			edit.cas = cas
		}
		return edit.step(o.Node, "the runtime leaves this mirror out"+reads, hosts.Path, "")
	case len(cas) > 0 && !isDefault(hosts):
		return writeHosts(o.Node, "the runtime asks the registry itself, with the CA that is there"+reads, hosts.Path, host, cas)
	}
	return detectors.MoveAside(o.Node, hosts.Path, "without it the runtime asks the registry itself"+reads)
}

// present are those of the CAs that are there.
func present(r *v1alpha1.RegistryHost, cas []string) []string {
	return slices.DeleteFunc(slices.Clone(cas), func(c string) bool { return slices.Contains(r.MissingCAs, c) })
}
