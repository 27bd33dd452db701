package detector

import (
	"embed"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// The mappings of agents whose conditions and events are public.
//
//go:embed mappings/*.yaml
var mappings embed.FS

// Mapping translates what others say into failures and causes.
type Mapping struct {
	rules []rule
}

type rule struct {
	v1alpha1.MappingRule
	condition, event, finding, reason, message *regexp.Regexp
}

// Known tells whether a failure, or a failure and cause, is in the vocabulary; cause is empty for the failure alone.
type Known func(failure, cause string) bool

// InVocabulary is sickbay's own vocabulary.
func InVocabulary(failure, cause string) bool {
	if cause == "" {
		_, ok := failures.Lookup(failure)
		return ok
	}
	return failures.Known(failure, cause)
}

// LoadMapping reads a mapping file.
func LoadMapping(file string, known Known) (*Mapping, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, &usage.Error{Text: fmt.Sprintf("read the mapping: %s", err)}
	}
	return parseMapping(raw, file, known)
}

func parseMapping(raw []byte, file string, known Known) (*Mapping, error) {
	var doc v1alpha1.Mapping
	if err := scenarios.Unmarshal(raw, file, v1alpha1.KindMapping, &doc); err != nil {
		return nil, err
	}
	if len(doc.Rules) == 0 {
		return nil, usage.Errorf("%s has no rules: nothing would ever be found with it", file)
	}
	m := &Mapping{}
	for i, r := range doc.Rules {
		where := fmt.Sprintf("%s: rule %d", file, i+1)
		kinds := 0
		for _, v := range []string{r.Condition, r.Event, r.Finding} {
			if v != "" {
				kinds++
			}
		}
		if kinds != 1 {
			return nil, usage.Errorf("%s needs exactly one of condition, event and finding", where)
		}
		if failure, cause := failures.Split(r.Is); r.Is != "" && !known(failure, cause) {
			return nil, usage.Errorf("%s: there is no %s: `sickbay explain` lists failures and causes", where, r.Is)
		}
		for _, s := range strings.Split(r.Status, "|") {
			if r.Status != "" && !slices.Contains([]string{"True", "False", "Unknown"}, s) {
				return nil, usage.Errorf("%s: status %q: it must be True, False or Unknown, or several with | between", where, r.Status)
			}
		}
		if r.Condition != "" && r.Status == "" {
			r.Status = "True"
		}
		m.rules = append(m.rules, rule{r, glob(r.Condition), glob(r.Event), glob(r.Finding), glob(r.Reason), glob(r.Message)})
	}
	return m, nil
}

func builtin(name string) *Mapping {
	file := path.Join("mappings", name+".yaml")
	raw, err := mappings.ReadFile(file)
	if err != nil {
		panic(err) // it is embedded
	}
	m, err := parseMapping(raw, file, InVocabulary)
	if err != nil {
		panic(err) // a test loads them all
	}
	return m
}

// glob is a pattern with * and ? as an expression over a whole text; nil matches everything.
func glob(pattern string) *regexp.Regexp {
	if pattern == "" {
		return nil
	}
	return text.Glob(pattern)
}

func fits(re *regexp.Regexp, s string) bool { return re == nil || re.MatchString(s) }

// is splits what a rule means; ok is false where it means nothing.
func (r rule) is() (failure, cause string, ok bool) {
	failure, cause = failures.Split(r.Is)
	return failure, cause, r.Is != ""
}

// conditionRule is the number of the first rule that knows the condition, -1 for none.
func (m *Mapping) conditionRule(typ, status, reason, message string) int {
	return slices.IndexFunc(m.rules, func(r rule) bool {
		return r.condition != nil && r.condition.MatchString(typ) && slices.Contains(strings.Split(r.Status, "|"), status) && fits(r.reason, reason) && fits(r.message, message)
	})
}

// eventRule is the number of the first rule that knows the event, -1 for none.
func (m *Mapping) eventRule(reason, message string) int {
	return slices.IndexFunc(m.rules, func(r rule) bool {
		return r.event != nil && r.event.MatchString(reason) && fits(r.message, message)
	})
}

// finding translates a finding; false means that it is to be left out. One that no rule knows stays as it is.
func (m *Mapping) finding(f *v1alpha1.Finding) bool {
	for _, r := range m.rules {
		if r.finding == nil || !r.finding.MatchString(Name(*f)) && !r.finding.MatchString(f.Failure) {
			continue
		}
		var ok bool
		f.Failure, f.Cause, ok = r.is()
		return ok
	}
	return true
}
