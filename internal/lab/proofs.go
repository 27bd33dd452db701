package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Class is how labs are proven side by side.
type Class struct {
	Workers []string // one lab on each at a time
	Prove   func(ctx context.Context, c scenarios.Course, worker string) Proof
	// Usable says whether a worker may have another lab: one that was left ill may not.
	Usable func(worker string) bool
	// Done is told of lab by lab, one at a time: what it writes down outlives a run that is killed.
	Done func(Proof)
}

// ProveAll proves labs, each on a worker of its own; one that claims the host runs when no other does.
func (k Class) ProveAll(ctx context.Context, list []scenarios.Course) {
	free := make(chan string, len(k.Workers))
	for _, w := range k.Workers {
		free <- w
	}
	left, told := len(k.Workers), sync.Mutex{}
	one := func(c scenarios.Course, worker string) {
		p := k.Prove(ctx, c, worker)
		usable := k.Usable(worker)
		told.Lock()
		defer told.Unlock()
		if ctx.Err() == nil { // what was interrupted is not proven, and not disproven
			k.Done(p)
		}
		if usable {
			free <- worker
		} else if left--; left == 0 {
			close(free)
		}
	}
	var shared, alone []scenarios.Course
	for _, c := range list {
		if fault.ClaimsHost(c.Scenario) {
			alone = append(alone, c)
		} else {
			shared = append(shared, c)
		}
	}
	var wg sync.WaitGroup
	for i, c := range slices.Concat(shared, alone) {
		if i >= len(shared) {
			wg.Wait()
		}
		select {
		case worker, ok := <-free:
			if !ok {
				k.Done(Proof{Code: c.Of.Spec.Code, Scenario: c.Metadata.Name, Unproven: "no worker is left that is well: `sickbay recover` heals them"})
				continue
			}
			wg.Go(func() { one(c, worker) })
		case <-ctx.Done():
		}
	}
	wg.Wait()
}

// Hash is what a proof of a lab is of: its texts, its questions and its scenario.
func Hash(c scenarios.Course) string {
	raw, err := json.Marshal([]any{c.Of, c.Scenario})
	if err != nil {
		return "" // proven again each time
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Proofs is a file of proofs, one a line, so that a run which is killed keeps what it had.
type Proofs struct{ File string }

// Add appends one.
func (p Proofs) Add(x Proof) error {
	raw, err := json.Marshal(x)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(p.File), 0o700)
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return errors.Join(err, f.Close())
}

// Of are the last proofs of labs that were not changed since, by code. A line that was cut short is none.
func (p Proofs) Of(list []scenarios.Course) (map[string]Proof, error) {
	raw, err := os.ReadFile(p.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := map[string]Proof{}
	for line := range strings.Lines(string(raw)) {
		var x Proof
		if json.Unmarshal([]byte(line), &x) == nil && slices.ContainsFunc(list, func(c scenarios.Course) bool { return c.Of.Spec.Code == x.Code && x.Of != "" && Hash(c) == x.Of }) {
			out[x.Code] = x
		}
	}
	return out, nil
}

// days are when proofs were made, with what.
func days(proofs []Proof) string {
	var on, by []string
	for _, p := range proofs {
		if d := p.At.UTC().Format("2006-01-02"); !p.At.IsZero() && !slices.Contains(on, d) {
			on = append(on, d)
		}
		if p.Version != "" && !slices.Contains(by, p.Version) {
			by = append(by, p.Version)
		}
	}
	slices.Sort(on)
	out := "on " + strings.Join(on, " and ")
	if len(by) > 0 {
		out += ", with sickbay " + strings.Join(by, " and ")
	}
	return out
}

// Table is the proofs as Markdown: a lab a line, and below it what was not as it should be.
func Table(proofs []Proof) string {
	proofs = slices.SortedFunc(slices.Values(proofs), func(a, b Proof) int { return strings.Compare(a.Code, b.Code) })
	var b strings.Builder
	fmt.Fprintf(&b, "# Labs\n\nWritten by `sickbay lab verify --all --table` %s. Each number is proven of all: a hint's proof holds while the\nnode is ill and does not once it is well; a wrong fix is refused for its reason; a right one is accepted and lasts.\n\n", days(proofs))
	b.WriteString("| lab | scenario | unsolved is refused | hints proven | wrong fixes refused | right fixes accepted | faults made | took |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range proofs {
		count := func(prefix string) string {
			ok, all := 0, 0
			for _, c := range p.Checks {
				if strings.HasPrefix(c.Name, prefix) {
					all++
					if c.OK {
						ok++
					}
				}
			}
			return fmt.Sprintf("%d of %d", ok, all)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %s |\n", p.Code, p.Scenario, count("unsolved"), count("hint "), count("mutant "), count("solved by "), p.Faults, (time.Duration(p.TookMS) * time.Millisecond).Round(time.Second))
	}
	b.WriteString("\n## Wrong fixes\n\n| lab | wrong fix | refused as |\n|---|---|---|\n")
	for _, p := range proofs {
		for _, c := range p.Checks {
			if name, ok := strings.CutPrefix(c.Name, "mutant "); ok {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", p.Code, name, map[bool]string{true: c.Want, false: "**" + cell(c.Got) + "**, not " + c.Want}[c.OK])
			}
		}
	}
	var bad strings.Builder
	for _, p := range proofs {
		if p.Unproven != "" {
			fmt.Fprintf(&bad, "- %s: %s\n", p.Code, cell(p.Unproven))
		}
		for _, c := range p.Checks {
			if !c.OK {
				fmt.Fprintf(&bad, "- %s: %s: want %s, got %s\n", p.Code, c.Name, c.Want, cell(c.Got))
			}
		}
	}
	if bad.Len() > 0 {
		b.WriteString("\n## Not as it should be\n\n" + bad.String())
	}
	return b.String()
}

func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
