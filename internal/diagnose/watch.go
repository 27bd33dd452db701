package diagnose

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Watcher looks again and again and keeps a bounded History per node: the first look is the baseline and stays, log lines
// of looks that had to go are handed on to the oldest one kept. It is safe for concurrent use.
type Watcher struct {
	target Target
	opts   Options

	mu   sync.Mutex
	hist map[string]v1alpha1.History
	asks map[string]Ask
}

// NewWatcher watches the target.
func NewWatcher(t Target, o Options) *Watcher {
	return &Watcher{target: t, opts: o.withDefaults(), hist: map[string]v1alpha1.History{}, asks: map[string]Ask{}}
}

// Trust has the looks from now on carry the operator's word for a CA, given as PEM.
func (w *Watcher) Trust(pem string) error {
	cas, err := ParseCAs([]byte(pem))
	if err == nil {
		w.mu.Lock()
		w.opts.TrustCAs = append(slices.Clone(w.opts.TrustCAs), cas...)
		w.mu.Unlock()
	}
	return err
}

// ParseCAs reads the certificates of a PEM file as those that the operator vouches for.
func ParseCAs(raw []byte) (out []v1alpha1.TrustedCA, err error) {
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate cannot be read: %w", err)
		}
		sum := sha256.Sum256(c.Raw)
		out = append(out, v1alpha1.TrustedCA{SHA256: hex.EncodeToString(sum[:]), Subject: c.Subject.String(), DER: base64.StdEncoding.EncodeToString(c.Raw)})
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return out, nil
}

// Look observes all nodes once more. It returns what this look alone saw.
func (w *Watcher) Look(ctx context.Context) (map[string]v1alpha1.Observation, error) {
	return w.look(ctx, w.target)
}

// LookAt observes only the named nodes once more: the victim is asked every second, the bystanders now and then.
func (w *Watcher) LookAt(ctx context.Context, nodes ...string) (map[string]v1alpha1.Observation, error) {
	return w.look(ctx, w.target.Only(nodes...))
}

func (w *Watcher) look(ctx context.Context, t Target) (map[string]v1alpha1.Observation, error) {
	w.mu.Lock()
	asks := make(map[string]Ask, len(w.asks))
	for k, v := range w.asks {
		asks[k] = v
	}
	w.mu.Unlock()

	got, renamed, err := lookAll(ctx, t, w.opts, asks)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for node, obs := range got {
		w.add(node, obs)
	}
	for given, found := range renamed {
		ask := w.asks[found]
		ask.Name = found
		w.asks[given] = ask
	}
	return got, nil
}

func (w *Watcher) add(node string, obs v1alpha1.Observation) {
	ask := w.asks[node]
	ask.Since = w.opts.Since
	if obs.Journal.Cursor != "" {
		ask.Cursor = obs.Journal.Cursor
	}
	ask.Registries = awaited(obs.API)
	w.asks[node] = ask

	h := append(w.hist[node], obs)
	if over := len(h) - 1 - w.opts.Keep; over > 0 {
		h = shorten(h, over, w.opts.KeepLines)
	}
	w.hist[node] = h
}

// Resume continues from the histories of an earlier process.
func (w *Watcher) Resume(histories map[string]v1alpha1.History) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for node, h := range histories {
		for _, o := range h {
			w.add(node, o)
		}
	}
}

// awaited are the registries of images that pods wait for. A pull in back-off says nothing for up to five minutes.
func awaited(api *v1alpha1.API) []string {
	if api == nil {
		return nil
	}
	var out []string
	for i := range api.Pods {
		p := &api.Pods[i]
		images := map[string]string{}
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			images[c.Name] = c.Image
		}
		for _, st := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if w := st.State.Waiting; w == nil || w.Reason != "ErrImagePull" && w.Reason != "ImagePullBackOff" {
				continue
			}
			host, _, more := strings.Cut(images[st.Name], "/")
			if more && strings.ContainsAny(host, ".:") && !slices.Contains(out, host) {
				out = append(out, host)
			}
		}
	}
	return out
}

// shorten drops n looks after the baseline and hands their log lines to the first one kept.
func shorten(h v1alpha1.History, n, keepLines int) v1alpha1.History {
	first := h[1+n]
	var lines, kmsg []v1alpha1.LogLine
	for _, o := range h[1 : 1+n] {
		lines = append(lines, o.Journal.Lines...)
		kmsg = append(kmsg, o.Kmsg...)
	}
	first.Journal.Lines, first.Journal.Truncated = newest(append(lines, first.Journal.Lines...), keepLines, first.Journal.Truncated)
	first.Kmsg, _ = newest(append(kmsg, first.Kmsg...), keepLines, false)
	out := make(v1alpha1.History, 0, len(h)-n)
	out = append(out, h[0], first)
	return append(out, h[2+n:]...)
}

// Compact keeps of every history the baseline and the last looks, and of the others their log lines.
func Compact(histories map[string]v1alpha1.History, looks int) map[string]v1alpha1.History {
	out := make(map[string]v1alpha1.History, len(histories))
	for node, h := range histories {
		if over := len(h) - 1 - looks; over > 0 {
			h = shorten(h, over, Options{}.withDefaults().KeepLines)
		}
		out[node] = h
	}
	return out
}

func newest(lines []v1alpha1.LogLine, keep int, truncated bool) ([]v1alpha1.LogLine, bool) {
	if len(lines) > keep {
		return append([]v1alpha1.LogLine(nil), lines[len(lines)-keep:]...), true
	}
	return lines, truncated
}

// Restart forgets the histories and keeps the cursors: the next look is the new baseline, and its journal begins where the
// last one ended.
func (w *Watcher) Restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hist = map[string]v1alpha1.History{}
}

// Histories returns a copy of what was seen so far.
func (w *Watcher) Histories() map[string]v1alpha1.History {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]v1alpha1.History, len(w.hist))
	for k, v := range w.hist {
		out[k] = append(v1alpha1.History(nil), v...)
	}
	return out
}

// Diagnose judges the histories of the named nodes, all of them when none is named.
func (w *Watcher) Diagnose(judge JudgeFunc, nodes ...string) v1alpha1.Diagnosis {
	h := w.Histories()
	if len(nodes) > 0 {
		some := make(map[string]v1alpha1.History, len(nodes))
		for _, n := range nodes {
			if v, ok := h[n]; ok {
				some[n] = v
			}
		}
		h = some
	}
	d := Judge(h, judge)
	setCluster(&d, w.target.Cluster, w.target.Context)
	return d
}
