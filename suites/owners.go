package suites

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

// Whose a thing on the host is stands behind it in a fingerprint, where that can be known: the run that a container serves, by its
// label, or the node whose /var holds a loop device's image. A run is asked about its own and about nobody's.
const (
	OfNode = "node"
	OfRun  = "run"
)

func Owned(kind string, names ...string) string {
	return fmt.Sprintf(" [of %s %s]", kind, strings.Join(names, ", "))
}

var owner = regexp.MustCompile(`\[of (node|run) ([^\]]+)\]`)

// theirs tells whether one side of a difference is of a run of another process. The caller holds w.mu.
func (w *Pool) theirs(side string) bool {
	own := func(name string) bool { return slices.Contains(w.runs, name) || w.touched[name] }
	if m := owner.FindStringSubmatch(side); m != nil {
		return !slices.ContainsFunc(strings.Split(m[2], ", "), own)
	}
	_, journal, found := strings.Cut(side, "/journal/")
	return found && !slices.ContainsFunc(w.runs, func(run string) bool { return strings.HasPrefix(journal, run+"-") })
}

// withoutOthers drops differences that are told of a run of another process, and of nothing else: it holds its own worker now, as
// may be, and will answer for it.
func (w *Pool) withoutOthers(changes []string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(changes, func(c string) bool {
		// A device that another run had and we have now is ours: what was before and what is after are told apart.
		before, after, both := strings.Cut(c, fingerprint.Arrow)
		return w.theirs(before) && (!both || w.theirs(after))
	})
}

// Adopt counts a run on a node that another process made as one of this pool's.
func (w *Pool) Adopt(node, run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs, w.touched[node] = append(w.runs, run), true
}
