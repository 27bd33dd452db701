package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/text"
)

const (
	// mostChanges bounds what the API's audit adds to a learner's timeline.
	mostChanges = 200
	// longestRecord bounds a line of the audit log: one without bodies has one KiB or two.
	longestRecord = 64 << 10
	// storm: the same change again within this time is counted and not told anew.
	storm = time.Minute
)

// Changes are what a user did through the API between two moments, for the timeline, from the lines of its audit log. A line that is
// none of an audit log is left out: whoever has a shell on the control plane may write there.
func Changes(log []byte, user string, since, until time.Time) []Entry {
	type change struct {
		at   time.Time
		text string
	}
	var all []change
	seen := map[string]bool{}
	for line := range bytes.Lines(log) {
		var e auditv1.Event
		if len(line) > longestRecord || json.Unmarshal(line, &e) != nil || e.User.Username != user || e.ObjectRef == nil || e.Verb == "" {
			continue
		}
		// A connection that stays is there twice, when it begins and when it ends.
		at, id := e.RequestReceivedTimestamp.Time, string(e.AuditID)
		if at.Before(since) || at.After(until) || id != "" && seen[id] {
			continue
		}
		seen[id] = true
		all = append(all, change{at.UTC(), changeText(&e)})
	}
	slices.SortStableFunc(all, func(a, b change) int { return a.at.Compare(b.at) })

	type times struct {
		entry, n int
		last     time.Time
	}
	var out []Entry
	told, left := map[string]*times{}, 0
	for _, c := range all {
		switch t := told[c.text]; {
		case t != nil && c.at.Sub(t.last) < storm:
			t.n, t.last = t.n+1, c.at
			out[t.entry].Text = fmt.Sprintf("%s, %d times", c.text, t.n)
		case len(out) == mostChanges:
			left++
		default:
			told[c.text] = &times{len(out), 1, c.at}
			out = append(out, Entry{At: c.at, Kind: "api", Text: c.text})
		}
	}
	if left > 0 {
		out = append(out, Entry{At: all[len(all)-1].at, Kind: "api", Text: fmt.Sprintf("and %d more", left)})
	}
	return out
}

// changeText is VERB RESOURCE NAMESPACE/NAME.
func changeText(e *auditv1.Event) string {
	on := e.ObjectRef
	verb, what, name := e.Verb, on.Resource, on.Name
	if on.Subresource != "" {
		what += "/" + on.Subresource
	}
	if verb == "get" { // how a newer client opens a connection
		verb = "create"
	}
	switch {
	case on.Namespace != "" && name == "":
		name = "in " + on.Namespace
	case on.Namespace != "":
		name = on.Namespace + "/" + name
	}
	words := []string{verb, what, name}
	if strings.Contains(e.RequestURI, "dryRun=") {
		words = append(words, "(dry run)")
	}
	if s := e.ResponseStatus; s != nil && s.Code >= 400 {
		words = append(words, fmt.Sprintf("(failed: %d)", s.Code))
	}
	return text.Short(redact.Text(text.Plain(strings.Join(words, " "))), 160)
}
