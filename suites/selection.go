package suites

import (
	"cmp"
	"embed"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

//go:embed profiles/*.yaml decoys
var shipped embed.FS

// Selection says which scenarios a suite runs.
type Selection struct {
	Profile string // a name, or a file
	// Only and Skip are selectors: TERM[,TERM…]. A term is KEY=PATTERN or a name; all of a selector's have to hold, any selector will do.
	Only, Skip []string
}

// Profiles names the profiles that come with sickbay.
func Profiles() []string { return []string{"core", "extended", "all", "decoys"} }

// Select gives the scenarios of a selection, by name, and the profile's name.
func Select(s Selection) ([]*scenarios.Scenario, string, error) {
	p, own, err := profile(s.Profile)
	if err != nil {
		return nil, "", err
	}
	all, err := scenarios.All()
	if err != nil {
		return nil, "", err
	}
	var list []*scenarios.Scenario
	for i := range all {
		list = append(list, &all[i])
	}
	for _, sc := range own {
		if slices.ContainsFunc(list, func(o *scenarios.Scenario) bool { return o.Metadata.Name == sc.Metadata.Name }) {
			return nil, "", usage.Errorf("profile %s: there is a scenario %s already", s.Profile, sc.Metadata.Name)
		}
		list = append(list, sc)
	}
	everything := list
	for _, part := range []struct {
		flag      string
		selectors []string
		keep      bool
	}{
		{"profile " + s.Profile + ": only", p.Only, true}, {"profile " + s.Profile + ": skip", p.Skip, false}, {"--only", s.Only, true}, {"--skip", s.Skip, false},
	} {
		if len(part.selectors) == 0 {
			continue
		}
		match, err := selectors(part.flag, part.selectors, everything)
		if err != nil {
			return nil, "", err
		}
		list = slices.DeleteFunc(slices.Clone(list), func(sc *scenarios.Scenario) bool { return match(sc) != part.keep })
	}
	if len(list) == 0 {
		return nil, "", usage.Errorf("nothing is left to run of profile %s with this --only and --skip", s.Profile)
	}
	slices.SortFunc(list, func(a, b *scenarios.Scenario) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return list, p.Metadata.Name, nil
}

// profile reads a profile by its name, or from a file with the scenarios that it brings.
func profile(name string) (v1alpha1.Profile, []*scenarios.Scenario, error) {
	if !scenarios.IsPath(name) {
		if !slices.Contains(Profiles(), name) {
			return v1alpha1.Profile{}, nil, usage.Errorf("--profile %q: it must be %s or a file%s", name, strings.Join(Profiles(), ", "), text.Near(name, Profiles(), 1))
		}
		return readProfile(shipped, "profiles/"+name+".yaml", func(dir string) (*scenarios.Scenario, error) {
			sub, err := fs.Sub(shipped, dir)
			if err != nil {
				return nil, err
			}
			return scenarios.LoadFS(sub, "suites/"+dir)
		})
	}
	return readProfile(disk{}, filepath.ToSlash(name), scenarios.Load)
}

// disk is the machine's files by their paths, which os.DirFS cannot reach above its root.
type disk struct{}

func (disk) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) } // a pipe would be waited for
func (disk) Open(name string) (fs.File, error)          { return os.Open(name) }
func (disk) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func readProfile(files fs.FS, file string, load func(string) (*scenarios.Scenario, error)) (v1alpha1.Profile, []*scenarios.Scenario, error) {
	var p v1alpha1.Profile
	raw, err := scenarios.ReadFile(files, file)
	if err != nil {
		return p, nil, usage.Errorf("read the profile %s: %s", file, err)
	}
	if err := scenarios.Unmarshal(raw, file, v1alpha1.KindProfile, &p); err != nil {
		return p, nil, err
	}
	if p.Metadata.Name == "" {
		return p, nil, usage.Errorf("%s has no metadata.name", file)
	}
	var own []*scenarios.Scenario
	for _, pattern := range p.Scenarios {
		full := pattern
		if !path.IsAbs(pattern) {
			full = path.Join(path.Dir(file), pattern)
		}
		found, err := fs.Glob(files, full)
		if err == nil && len(found) == 0 {
			err = errors.New("there is none")
		}
		if err != nil {
			return p, nil, usage.Errorf("%s: scenarios %q: %s", file, pattern, err)
		}
		for _, dir := range found {
			sc, err := load(dir)
			if err != nil {
				return p, nil, err
			}
			own = append(own, sc)
		}
	}
	return p, own, nil
}

// values are what a selector's keys say of a scenario.
var values = map[string]func(*scenarios.Scenario) []string{
	"name":     func(s *scenarios.Scenario) []string { return []string{s.Metadata.Name} },
	"profile":  func(s *scenarios.Scenario) []string { return []string{s.Spec.Profile} },
	"fidelity": func(s *scenarios.Scenario) []string { return []string{s.Spec.Fidelity.Level} },
	"needs":    Needs,
	"failure": func(s *scenarios.Scenario) (out []string) {
		for _, e := range s.Spec.Expect {
			out = append(out, e.Failure)
		}
		return out
	},
	"cause": func(s *scenarios.Scenario) (out []string) {
		for _, e := range s.Spec.Expect {
			out = append(out, e.Cause, e.Failure+"/"+e.Cause)
		}
		return out
	},
	"label": func(s *scenarios.Scenario) (out []string) {
		for k, v := range s.Metadata.Labels {
			out = append(out, k, k+"="+v)
		}
		return out
	},
}

// Needs are what a scenario needs of the machine: host, where it claims the kernel that all nodes share, registry, and its mechanisms.
func Needs(s *scenarios.Scenario) []string {
	var out []string
	if fault.ClaimsHost(s) {
		out = append(out, "host")
	}
	if s.Spec.Registry != nil {
		out = append(out, "registry")
	}
	for _, a := range slices.Concat(s.Spec.Prepare, s.Spec.Inject) {
		out = append(out, a.Mechanism)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// selectors compiles selectors. One that fits no scenario at all is a typing error.
func selectors(flag string, list []string, all []*scenarios.Scenario) (func(*scenarios.Scenario) bool, error) {
	var match []selector
	for _, s := range list {
		m, err := parseSelector(flag, s)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, m.fits) {
			return nil, usage.Errorf("%s %s: no scenario is like that%s `sickbay list` shows them all", flag, s, cmp.Or(m.near(all), ":"))
		}
		match = append(match, m)
	}
	return func(sc *scenarios.Scenario) bool {
		return slices.ContainsFunc(match, func(m selector) bool { return m.fits(sc) })
	}, nil
}

// selector has terms that all have to hold.
type selector []term

// term is a pattern that one value of any of its keys has to fit.
type term struct {
	keys    []string
	pattern string
	glob    *regexp.Regexp
}

func parseSelector(flag, s string) (out selector, err error) {
	keys := slices.Sorted(maps.Keys(values))
	for t := range strings.SplitSeq(s, ",") {
		key, pattern, keyed := strings.Cut(t, "=")
		switch _, known := values[key]; {
		case !keyed && t != "":
			out = append(out, term{[]string{"name", "failure", "cause"}, t, text.Glob(t)})
		case keyed && known && pattern != "":
			out = append(out, term{[]string{key}, pattern, text.Glob(pattern)})
		default:
			return nil, usage.Errorf("%s %q: want a name or KEY=PATTERN with one of %s%s", flag, t, strings.Join(keys, ", "), text.Near(key, keys, 1))
		}
	}
	return out, nil
}

func (s selector) fits(sc *scenarios.Scenario) bool {
	return !slices.ContainsFunc(s, func(t term) bool { return !slices.ContainsFunc(t.values(sc), t.glob.MatchString) })
}

// near is what may have been meant by the first term that fits no scenario.
func (s selector) near(all []*scenarios.Scenario) string {
	for _, t := range s {
		var known []string
		for _, sc := range all {
			known = append(known, t.values(sc)...)
		}
		if !slices.ContainsFunc(known, t.glob.MatchString) {
			slices.Sort(known)
			return text.Near(t.pattern, slices.Compact(known), 2)
		}
	}
	return ""
}

func (t term) values(sc *scenarios.Scenario) (out []string) {
	for _, key := range t.keys {
		out = append(out, values[key](sc)...)
	}
	return out
}
