package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
)

// merge puts a result into the file that keeps the last one of every entry, and answers with all of those whose entry there still is.
func merge(file string, fresh Result, entries []Entry) ([]Result, error) {
	var kept []Result
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read earlier results: %w", err)
	}
	all := []Result{fresh}
	for _, r := range kept {
		if r.Name != fresh.Name && slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == r.Name }) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	if raw, err = json.MarshalIndent(all, "", "  "); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	return all, os.WriteFile(file, append(raw, '\n'), 0o644)
}

// table is docs/results/byhand.md, or that of another runtime.
func table(results []Result, cluster, runtime string, entries int) string {
	var ill, odd []Result
	failed, cleared, allowed, refusals, unlisted := 0, 0, 0, 0, 0
	for _, r := range results {
		if r.Problem != "" {
			failed++
		}
		if len(r.Expected) == 0 {
			odd = append(odd, r)
			continue
		}
		ill = append(ill, r)
		switch {
		case r.Fix == Cleared:
			cleared++
		case r.Fix == Allowed:
			allowed++
		case strings.HasPrefix(r.Fix, Refused):
			refusals++
		}
		if !r.Listed && r.Problem == "" {
			unlisted++
		}
	}
	var b strings.Builder
	heading, call, dir := "Broken by hand", "make byhand", kinds[runtime].entries
	if runtime != nodeimage.Containerd {
		heading, call = heading+": "+runtime, fmt.Sprintf(`make byhand ARGS="-runtime %s"`, runtime)
	}
	fmt.Fprintf(&b, `# %s

A kind cluster made as anybody makes one (kind's own configuration of a control plane and two workers, stock timings, nothing of
sickbay on it) and broken by `+"`docker exec`"+` and kubectl. `+"`%s`"+` does it again; each line is one file of
[%s](../../%s), and a new file is a new line. The page shows every entry's last run.

%d of %d cases were run, %d failed (a case that exceeds its time limit by one second fails). %d break a node; %d of those that passed are not described in the
failure guide. %d were fixed by `+"`sickbay diagnose --fix --yes`"+`, %d only with `+"`--allow destructive`"+`, %d were left to a person with the reason. %d are oddities.
*Source* is the public report that a case was made after.

*seconds*: from the moment a plain command can read the trouble on the node to the end of the `+"`sickbay diagnose`"+` that names it,
nothing beside it; three are allowed. *Cleared* means that the fix ended with 0, another look was silent, and a new pod ran on the node.

| case | what was done | source | expected and found | seconds | --fix --yes |
|---|---|---|---|---|---|
`, heading, call, dir, dir, len(results), entries, failed, len(ill), unlisted, cleared, allowed, refusals, len(odd))
	local := func(names []string) string {
		return strings.ReplaceAll(strings.Join(names, "<br>"), cluster+"-", "")
	}
	for _, r := range ill {
		found := local(r.Expected)
		if r.Problem != "" {
			found += "<br>**failed**, found: " + local(r.Found) + "<br>" + cell(r.Problem)
		}
		title := cell(r.Title)
		if !r.Listed {
			title += " *(not described)*"
		}
		fix := cell(r.Fix)
		if r.Fix == Cleared || r.Fix == Allowed {
			fix += fmt.Sprintf(" in %.0f s", r.FixSeconds)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f | %s |\n", r.Name, title, cell(r.Source), found, r.Seconds, fix)
	}
	b.WriteString("\n## Oddities: nothing may be said\n\n| case | what was done | source | |\n|---|---|---|---|\n")
	for _, r := range odd {
		said := "silent"
		if r.Problem != "" {
			said = "**failed**: " + cell(r.Problem)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Name, cell(r.Title), cell(r.Source), said)
	}
	return b.String()
}

// cell is a text in a table's cell.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
