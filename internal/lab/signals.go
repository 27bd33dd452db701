package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// mostSignals bounds what the cluster adds to a learner's timeline.
const mostSignals = 40

// Signals are the cluster's own events about the ill node and the lab's pods since then, each reason of an object once, for the
// timeline: what could have been seen, and when.
func Signals(ctx context.Context, kube kubernetes.Interface, ill, namespace string, since time.Time) ([]Entry, error) {
	list, err := kube.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	first := map[string]Entry{}
	for i := range list.Items {
		e := &list.Items[i]
		on := e.InvolvedObject
		if on.Namespace != namespace && (on.Kind != "Node" || on.Name != ill) {
			continue
		}
		at := e.FirstTimestamp.Time
		if at.IsZero() {
			at = facts.EventTime(e)
		}
		key := on.Kind + "/" + on.Name + " " + e.Reason
		if had, ok := first[key]; at.Before(since) || ok && !at.Before(had.At) {
			continue
		}
		first[key] = Entry{At: at.UTC(), Kind: "signal", Text: key + ": " + text.Short(e.Message, 160)}
	}
	var out []Entry
	for _, e := range first {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.At.Compare(b.At) })
	return out[:min(len(out), mostSignals)], nil
}
