// Package clockcert tells that a clock is wrong, or that the kubelet's client certificate has run out.
//
// Both end in the same x509 message, so it decides nothing: a clock is measured against another one, and a certificate's
// end against the API server's time where that is known. A wrong clock comes first: it makes good certificates look expired.
package clockcert

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
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
	detectors.Register(detectors.Detector{Failure: "clock-cert", Needs: []string{v1alpha1.SourceCerts}, Judge: judge})
}

// skewed: half a minute is more than any log pipe delays and than the Date header's whole seconds; TLS and leases begin to
// suffer from minutes.
const skewed = 30.0

// judge measures clocks, then certificates.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	return facts.First(h, skew, againstHardware, expired, held)
}

func skew(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	f := &v1alpha1.Finding{Cause: "clock-skew", Certainty: v1alpha1.Certain}
	var steps []v1alpha1.Step
	var whose []string
	if o.Clocks.APIOffsetKnown && math.Abs(o.Clocks.APIOffsetSeconds) > skewed {
		whose = append(whose, fmt.Sprintf("the node's clock is %s the API server's", apart(o.Clocks.APIOffsetSeconds)))
		f.Evidence = append(f.Evidence, facts.Seen(o, "clocks", fmt.Sprintf("node %s, API server %s", o.At.UTC().Format(time.RFC3339), facts.APINow(o).UTC().Format(time.RFC3339))))
		if o.Clocks.Synchronized {
			f.Certainty = v1alpha1.Likely
			f.ToConfirm = "which of the two is right: a time server keeps the node's (`chronyc tracking`, `timedatectl`), so look at the control plane's first"
			f.ManualAction = "a time server keeps the node's clock: set the control plane's, or see which servers the node asks"
		} else {
			steps = append(steps, detectors.ShellStep(v1alpha1.Disruptive, o.Node, "set the node's clock by its time servers, at once",
				`timedatectl set-ntp true 2>/dev/null || true
if command -v chronyc >/dev/null; then chronyc -a makestep; elif systemctl cat systemd-timesyncd >/dev/null 2>&1; then systemctl restart systemd-timesyncd; else echo "no time service on this node: install one, or set the clock with date -s" >&2; exit 1; fi`))
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(o.Clocks.ProcessOffsetSeconds)) {
		off := o.Clocks.ProcessOffsetSeconds[unit]
		if math.Abs(off) <= skewed || zoned(o, unit, off) && !refusedByDate(h) {
			continue
		}
		ahead := apart(off)
		// A kubelet's stamps have no year: a certificate that it calls expired tells the earliest that it can be.
		if _, ok := facts.LastOf(h, unit, 5*time.Minute, words.BootstrapCertificateExpired); ok && off > 0 {
			ahead = "at least " + ahead
		}
		whose = append(whose, fmt.Sprintf("the %s's clock is %s the node's", unit, ahead))
		text := fmt.Sprintf("%s stamps its log lines %s the journal", unit, ahead)
		if l, ok := stamped(h, unit); ok {
			text = fmt.Sprintf("%s stamped a line %s that the journal took at %s", unit, l.Own.UTC().Format(time.RFC3339), l.At.UTC().Format(time.RFC3339))
		}
		f.Evidence = append(f.Evidence, facts.Seen(o, "clocks", text))
		steps = append(steps, clockSource(o, unit)...)
		why := "a new process reads the right clock"
		if unit == facts.Runtime(o).Unit {
			why += "; containers belong to their shims and go on"
		}
		steps = append(steps, detectors.Restart(o.Node, unit+".service", why))
	}
	// The lease says the same, from outside: a renewal in the future can only come from a clock ahead.
	if age, ok := facts.LeaseAge(o); ok && age < -time.Duration(skewed)*time.Second {
		f.Evidence = append(f.Evidence, facts.Seen(o, "api.lease", fmt.Sprintf("renewTime %s lies %s in the API server's future", o.API.Lease.Spec.RenewTime.UTC().Format(time.RFC3339), (-age).Round(time.Second))))
		if _, measured := o.Clocks.ProcessOffsetSeconds[facts.KubeletUnitName(o)]; len(whose) == 0 && !measured && !stale(h) {
			whose = append(whose, "the kubelet's clock is ahead of the API server's")
			steps = append(clockSource(o, facts.KubeletUnitName(o)), facts.RestartKubelet(o, "a new process reads the right clock"))
		}
	}
	if len(whose) == 0 {
		return nil
	}
	f.Summary = strings.Join(whose, "; ")
	if l, ok := facts.LastOf(h, "kubelet", time.Minute, words.CertificateNotValid, words.ActiveCertificateExpired); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	if len(steps) > 0 {
		f.Remedy = facts.Place(o).NewRemedy("right-clock", append(steps, detectors.WaitReady(o.Node))...)
	}
	return f
}

// refusedByDate: the kubelet finds a certificate not valid by its clock.
func refusedByDate(h v1alpha1.History) bool {
	_, ok := facts.LastOf(h, "kubelet", 5*time.Minute, words.CertificateNotValid, words.BootstrapCertificateExpired)
	return ok
}

// stale: a lease from the future that is not renewed any more is the rest of a clock that is right again: until time has
// caught up, or the kubelet renews it. Renewed means that it changed since the look before.
func stale(h v1alpha1.History) bool {
	if len(h) < 2 {
		return false
	}
	before := h[len(h)-2].API
	now := h.Last().API
	return before != nil && before.Lease != nil && before.Lease.Spec.RenewTime != nil && now.Lease.Spec.RenewTime.Equal(before.Lease.Spec.RenewTime)
}

func apart(seconds float64) string {
	d := time.Duration(math.Abs(seconds) * float64(time.Second)).Round(time.Second)
	text := d.String()
	if d > 48*time.Hour {
		text = fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	if seconds > 0 {
		return text + " ahead of"
	}
	return text + " behind"
}

func stamped(h v1alpha1.History, unit string) (v1alpha1.LogLine, bool) {
	lines := facts.Lines(h, unit, 5*time.Minute)
	for _, l := range slices.Backward(lines) {
		if !l.Own.IsZero() && math.Abs(l.Own.Sub(l.At).Seconds()) > skewed {
			return l, true
		}
	}
	return v1alpha1.LogLine{}, false
}

// clockSource are the steps against what gives a process another clock than its node's: its unit starts it by way of another program,
// since a program does not change its own clock.
func clockSource(o *v1alpha1.Observation, unit string) []v1alpha1.Step {
	u := o.Units[unit]
	argv := strings.Fields(u.ExecStart)
	p, _ := facts.MainProcess(o, unit)
	program := p.Exe
	if i := slices.IndexFunc(argv, func(w string) bool { return path.Base(w) == unit }); program == "" && i > 0 {
		program = argv[i]
	}
	if len(argv) == 0 || program == "" || argv[0] == program || path.Base(argv[0]) == path.Base(program) || !slices.Contains(argv[1:], program) || len(u.DropIns) == 0 {
		return nil
	}
	return []v1alpha1.Step{facts.DropSetting(o.Node, "the unit starts "+unit+" by way of "+argv[0]+": take the drop-in's line out that does so", `^[[:space:]]*ExecStart[[:space:]]*=[-@:+!]*`+regexp.QuoteMeta(argv[0])+`[[:space:]]`, u.DropIns)}
}

// zoned tells that an offset is one of time zones: stamps without a zone, of a process that keeps another one than the journal's reader
// took. They are whole quarters of an hour, and a process that answers with its time has no zone.
func zoned(o *v1alpha1.Observation, unit string, off float64) bool {
	if unit != facts.KubeletUnitName(o) || o.Kubelet.Healthz != "" || math.Abs(off) > 14.1*3600 {
		return false
	}
	return math.Abs(off-900*math.Round(off/900)) < skewed
}

// againstHardware: nothing disciplines the node's clock, the machine's own battery-backed clock contradicts it, and it is by the
// node's that the kubelet's certificate is of no use. Alone, the difference is no illness: either clock may be the wrong one, and a
// certificate that was good a moment ago tells which. Where the API server's clock, on another machine, agrees with the node's, the
// battery is empty.
func againstHardware(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	off := o.Clocks.RTCOffsetSeconds
	agrees := o.Clocks.APIOffsetKnown && (o.API == nil || !o.API.SameKernel)
	if !o.Clocks.RTCOffsetKnown || o.Clocks.Synchronized || math.Abs(off) <= skewed || agrees {
		return nil
	}
	within := func(c *v1alpha1.Certificate, t time.Time) bool {
		return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
	}
	rtc := o.At.Add(-time.Duration(off * float64(time.Second)))
	c := useless(h, func(c *v1alpha1.Certificate) bool { return !within(c, o.At) })
	if c == nil || !within(c, rtc) {
		return nil
	}
	return &v1alpha1.Finding{
		Cause: "clock-skew", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the node's clock is %s its hardware clock, and only by the node's is the kubelet's certificate not valid", apart(off)),
		Evidence: []v1alpha1.Evidence{
			facts.Seen(o, "clocks", fmt.Sprintf("node %s, hardware clock %s, nothing synchronizes them", o.At.UTC().Format(time.RFC3339), rtc.UTC().Format(time.RFC3339))),
			facts.Seen(o, v1alpha1.SourceCerts, fmt.Sprintf("%s: valid %s to %s", c.Path, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))),
		},
		Remedy: facts.Place(o).NewRemedy("right-clock",
			detectors.ShellStep(v1alpha1.Disruptive, o.Node, "set the node's clock by its time servers, at once, and where none serve it by the hardware clock",
				`if command -v chronyc >/dev/null && chronyc -a makestep; then exit 0; fi
if systemctl is-active --quiet systemd-timesyncd; then systemctl restart systemd-timesyncd; elif command -v hwclock >/dev/null; then hwclock --hctosys --utc
else date --utc --set "@$(cat /sys/class/rtc/rtc0/since_epoch)"; fi`),
			facts.RestartKubelet(o, "a new process reads the right clock, and its certificate is valid again"),
			detectors.WaitReady(o.Node)),
	}
}

// useless is the client certificate that the kubelet uses, if it is of no use by that measure and the kubelet shows it.
func useless(h v1alpha1.History, by func(*v1alpha1.Certificate) bool) *v1alpha1.Certificate {
	o := h.Last()
	var dead *v1alpha1.Certificate
	for i := range o.Certs {
		c := &o.Certs[i]
		if c.Use != "kubelet-client" || c.Error != "" || !inUse(c, o.Kubelet.Kubeconfig) {
			continue
		}
		if !by(c) {
			return nil // one in use is valid
		}
		dead = c
	}
	_, says := facts.LastOf(h, "kubelet", 2*time.Minute, words.CertificateNotValid, "client certificate has expired", words.UnableToLoadBootstrapKubeconfig, words.BootstrapCertificateExpired, "Unauthorized")
	if k := facts.KubeletState(h); (k.Running || !k.Known) && !facts.Silent(o) && !says {
		return nil // a running kubelet holds a newer one
	}
	return dead
}

// expired: the client certificate the kubelet uses has run out, by the API server's clock where known, and it is in use.
func expired(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	now := facts.APINow(o)
	dead := useless(h, func(c *v1alpha1.Certificate) bool { return now.After(c.NotAfter) })
	if dead == nil {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "client-cert-expired", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the kubelet's client certificate ended %s: the API server does not know the kubelet any more", dead.NotAfter.UTC().Format(time.RFC3339)),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceCerts, fmt.Sprintf("%s: %s, valid %s to %s; now %s", dead.Path, dead.Subject,
			dead.NotBefore.UTC().Format(time.RFC3339), dead.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))},
	}
	if l, ok := facts.LastOf(h, "kubelet", 2*time.Minute, "client certificate has expired", words.CertificateNotValid, words.UnableToLoadBootstrapKubeconfig, "Unauthorized"); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	restart := []v1alpha1.Step{facts.RestartKubelet(o, "the kubelet reads its certificate at start; pods go on"), detectors.WaitReady(o.Node)}
	link := cmp.Or(o.Kubelet.CertDir, "/var/lib/kubelet/pki") + "/kubelet-client-current.pem"
	for _, c := range o.Certs {
		if c.Use == "kubelet-client" && c.Error == "" && c.ChainsToCA && now.Before(c.NotAfter) && now.After(c.NotBefore) && path.Base(c.Path) != path.Base(link) && strings.HasSuffix(c.Path, ".pem") {
			f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceCerts, c.Path+" is valid until "+c.NotAfter.UTC().Format(time.RFC3339)+" and not in use"))
			f.Remedy = facts.Place(o).NewRemedy("use-valid-cert", append([]v1alpha1.Step{
				detectors.NodeStep(v1alpha1.Safe, o.Node, "another certificate of this kubelet, signed by the cluster's CA, is still valid: use it", "ln", "-sfn", "--", c.Path, link)}, restart...)...)
			return f
		}
	}
	if o.API == nil {
		f.ManualAction = "with access to the cluster, sign a new certificate (a CertificateSigningRequest of kubernetes.io/kube-apiserver-client-kubelet) or run `kubeadm join` again"
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("renew-client-cert", append([]v1alpha1.Step{
		detectors.APIStep(v1alpha1.Safe, "the cluster signs the kubelet a new client certificate; the key is made on the node and stays there",
			v1alpha1.APIAction{Verb: v1alpha1.VerbRenewClientCert, Object: &v1alpha1.ObjectRef{Kind: "Node", Name: o.Node}})}, restart...)...)
	return f
}

// held: the kubelet goes on with a certificate that has ended, while the file that it would read at a start is good: it was renewed by hand
// or from outside.
func held(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	now := facts.APINow(o)
	l, says := facts.LastOf(h, "kubelet", 2*time.Minute, words.ActiveCertificateExpired)
	i := slices.IndexFunc(o.Certs, func(c v1alpha1.Certificate) bool {
		return c.Use == "kubelet-client" && c.Error == "" && inUse(&c, o.Kubelet.Kubeconfig) && c.ChainsToCA && now.Before(c.NotAfter) && now.After(c.NotBefore)
	})
	if k := facts.KubeletState(h); !says || i < 0 || !k.Running || l.At.Before(k.Unit.ActiveSince) || !facts.Silent(o) || o.Kubelet.Kubeconfig.Reach != "ok" {
		return nil
	}
	c := o.Certs[i]
	return &v1alpha1.Finding{
		Cause: "client-cert-expired", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the kubelet goes on with a client certificate that has ended; the one in %s is valid until %s, and a kubelet reads it at start", c.Path, c.NotAfter.UTC().Format(time.RFC3339)),
		Evidence: []v1alpha1.Evidence{facts.FromLine(l), facts.Seen(o, v1alpha1.SourceCerts, fmt.Sprintf("%s: %s, valid %s to %s", c.Path, c.Subject,
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)))},
		Remedy: facts.Place(o).NewRemedy("read-cert-again", facts.RestartKubelet(o, "the kubelet reads its certificate at start; pods go on"), detectors.WaitReady(o.Node)),
	}
}

// inUse: the kubeconfig names this file, or holds the certificate itself.
func inUse(c *v1alpha1.Certificate, conf v1alpha1.Kubeconfig) bool {
	switch conf.ClientCert {
	case "":
		return path.Base(c.Path) == "kubelet-client-current.pem"
	case "inline":
		return c.Path == conf.Path
	}
	return c.Path == conf.ClientCert
}
