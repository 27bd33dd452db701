package suites

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// LoadKnown reads a list of known failures. Each must say why it is known and until when: one whose last day is past is an error, so that
// a list cannot grow old.
func LoadKnown(file string, now time.Time) ([]v1alpha1.KnownFailure, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, usage.Errorf("read the known failures: %s", err)
	}
	var doc v1alpha1.KnownFailures
	if err := scenarios.Unmarshal(raw, file, v1alpha1.KindKnownFailures, &doc); err != nil {
		return nil, err
	}
	for i, k := range doc.Failures {
		where := fmt.Sprintf("%s: entry %d (%s)", file, i+1, strings.TrimSpace(k.Scenario+" "+k.Detector))
		until, err := time.ParseInLocation(time.DateOnly, k.Until, now.Location())
		switch {
		case k.Scenario == "":
			return nil, usage.Errorf("%s names no scenario", where)
		case strings.TrimSpace(k.Why) == "":
			return nil, usage.Errorf("%s does not say why", where)
		case err != nil:
			return nil, usage.Errorf("%s: until %q: write the last day, such as %s", where, k.Until, now.AddDate(0, 1, 0).Format(time.DateOnly))
		case !now.Before(until.AddDate(0, 0, 1)):
			return nil, usage.Errorf("%s was known until %s: mend it, or say why it may stay and until when", where, k.Until)
		}
	}
	return doc.Failures, nil
}

// about tells whether an entry is about a result, whatever came of it.
func about(k v1alpha1.KnownFailure, r *v1alpha1.ScenarioResult) bool {
	return text.Glob(k.Scenario).MatchString(r.Scenario)
}

// failing are the results in r that an entry is about and that fail.
func failing(k v1alpha1.KnownFailure, r *v1alpha1.ScenarioResult) bool {
	bad := func(v v1alpha1.Verdict) bool {
		return v == v1alpha1.VerdictFailed || v == v1alpha1.VerdictFlaky || v == v1alpha1.VerdictUnknown
	}
	if k.Detector == "" {
		return bad(r.Verdict)
	}
	return slices.ContainsFunc(r.Detectors, func(d v1alpha1.DetectorResult) bool {
		return bad(d.Verdict) && text.Glob(k.Detector).MatchString(d.Detector)
	})
}

// excuse notes the known failures that a result has.
func excuse(known []v1alpha1.KnownFailure, r *v1alpha1.ScenarioResult) {
	for _, k := range known {
		if about(k, r) && failing(k, r) {
			r.Known = append(r.Known, k)
		}
	}
}

// stale are the entries whose scenarios were run and did not fail.
func stale(known []v1alpha1.KnownFailure, results []v1alpha1.ScenarioResult) []v1alpha1.KnownFailure {
	var out []v1alpha1.KnownFailure
	for _, k := range known {
		ran, failed := false, false
		for i := range results {
			if about(k, &results[i]) && results[i].Verdict != v1alpha1.VerdictUnsupported {
				ran, failed = true, failed || failing(k, &results[i])
			}
		}
		if ran && !failed {
			out = append(out, k)
		}
	}
	return out
}
