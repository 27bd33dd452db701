package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// element is what a reader allows in one element: attributes by name, a ! for those it needs, and children.
type element struct {
	attrs    map[string]string // → pattern of the value
	needs    []string
	children []string
	text     bool
}

const (
	anyText = ``
	number  = `^[0-9]+$`
	secs    = `^[0-9]*(\.[0-9]*)?$`
)

// junit10 has the rules that Jenkins' xUnit plugin publishes for its JUnit type, which is the strictest of the readers: attributes and
// children that it does not know make it refuse the file. GitLab, Prow and the actions of GitHub read a part of the same.
var junit10 = map[string]element{
	"testsuites": {attrs: map[string]string{"name": anyText, "time": secs, "tests": number, "failures": number, "errors": number}, children: []string{"testsuite"}},
	"testsuite": {
		attrs: map[string]string{"name": anyText, "tests": number, "failures": number, "errors": number, "skipped": number, "time": secs, "hostname": anyText,
			"timestamp": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`, "group": anyText, "id": anyText, "package": anyText, "file": anyText, "log": anyText, "url": anyText},
		needs: []string{"name", "tests", "failures", "errors"}, children: []string{"testsuite", "properties", "testcase", "system-out", "system-err"},
	},
	"properties": {children: []string{"property"}},
	"property":   {attrs: map[string]string{"name": `.`, "value": anyText}, needs: []string{"name", "value"}},
	"testcase": {attrs: map[string]string{"name": `.`, "classname": `.`, "time": secs, "group": anyText}, needs: []string{"name"},
		children: []string{"skipped", "error", "failure", "rerunFailure", "rerunError", "flakyFailure", "flakyError", "system-out", "system-err"}},
	"failure":    {attrs: map[string]string{"type": anyText, "message": anyText}, text: true},
	"error":      {attrs: map[string]string{"type": anyText, "message": anyText}, text: true},
	"skipped":    {attrs: map[string]string{"type": anyText, "message": anyText}, text: true},
	"system-out": {text: true},
	"system-err": {text: true},
}

// problems checks a file by the rules, and by what GitLab and Prow ask of names and counts.
func problems(raw []byte) (out []string) {
	var path []string
	names, outcomes := map[string]bool{}, 0
	counted, said := map[string]int{}, map[string]string{}
	dec := xml.NewDecoder(bytes.NewReader(raw))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(out, err.Error())
		}
		switch t := tok.(type) {
		case xml.StartElement:
			name, parent := t.Name.Local, ""
			if len(path) > 0 {
				parent = path[len(path)-1]
			}
			path = append(path, name)
			rule, known := junit10[name]
			if !known || (parent == "" && name != "testsuites") || (parent != "" && !slices.Contains(junit10[parent].children, name)) {
				out = append(out, fmt.Sprintf("<%s> in <%s>", name, parent))
			}
			attrs := map[string]string{}
			for _, a := range t.Attr {
				attrs[a.Name.Local] = a.Value
				if pattern, ok := rule.attrs[a.Name.Local]; !ok {
					out = append(out, fmt.Sprintf("<%s> has an attribute %s", name, a.Name.Local))
				} else if !regexp.MustCompile(pattern).MatchString(a.Value) {
					out = append(out, fmt.Sprintf("<%s %s=%q>", name, a.Name.Local, a.Value))
				}
			}
			for _, n := range rule.needs {
				if _, ok := attrs[n]; !ok {
					out = append(out, fmt.Sprintf("<%s> has no attribute %s", name, n))
				}
			}
			switch name {
			case "testsuite":
				counted, said = map[string]int{}, attrs
			case "testcase":
				counted["tests"]++
				outcomes = 0
				if names[attrs["name"]] {
					out = append(out, fmt.Sprintf("two cases are called %q", attrs["name"]))
				}
				names[attrs["name"]] = true
			case "failure", "error", "skipped":
				counted[map[string]string{"failure": "failures", "error": "errors", "skipped": "skipped"}[name]]++
				if outcomes++; outcomes > 1 {
					out = append(out, "a case has two outcomes")
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			if t.Name.Local == "testsuite" {
				for _, k := range []string{"tests", "failures", "errors", "skipped"} {
					if said[k] != strconv.Itoa(counted[k]) {
						out = append(out, fmt.Sprintf("suite %s says %s %s, and has %d", said["name"], said[k], k, counted[k]))
					}
				}
			}
		case xml.CharData:
			if len(path) > 0 && strings.TrimSpace(string(t)) != "" && !junit10[path[len(path)-1]].text {
				out = append(out, fmt.Sprintf("text in <%s>", path[len(path)-1]))
			}
		}
	}
	return out
}

func TestJUnitByTheReadersRules(t *testing.T) {
	flaky := many()
	flaky.Results[0].Verdict, flaky.Results[0].Attempts = v1alpha1.VerdictFlaky, []v1alpha1.Attempt{{Run: "a", Verdict: v1alpha1.VerdictFailed, FailedAt: v1alpha1.StepDetect, Reason: "missed"}}
	flaky.Results[1].Reason = hostile
	for name, rep := range map[string]*v1alpha1.Report{"one": sample(), "many": many(), "four detectors": scored(12), "flaky": flaky, "none": {}} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteJUnit(&b, rep); err != nil {
				t.Fatal(err)
			}
			for _, p := range problems(b.Bytes()) {
				t.Error(p)
			}
		})
	}
}

// The rules themselves can fail.
func TestJUnitRulesRefuse(t *testing.T) {
	suite := func(cases string) string {
		return `<testsuites><testsuite name="s" tests="1" failures="0" errors="0" skipped="0">` + cases + `</testsuite></testsuites>`
	}
	for want, doc := range map[string]string{
		"attribute skipped":         `<testsuites skipped="0"></testsuites>`,
		"<properties> in":           suite(`<testcase name="a"><properties/></testcase>`),
		"called \"a\"":              suite(`<testcase name="a"/><testcase name="a"/>`),
		"says 1 tests, and has 0":   suite(``),
		"two outcomes":              suite(`<testcase name="a"><failure/><error/></testcase>`),
		"<testcase> has no":         suite(`<testcase classname="a"/>`),
		"text in <testcase>":        suite(`<testcase name="a">x</testcase>`),
		`<testcase time="1,5">`:     suite(`<testcase name="a" time="1,5"/>`),
		"has an attribute hostname": suite(`<testcase name="a" hostname="h"/>`),
	} {
		if got := strings.Join(problems([]byte(doc)), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", doc, got, want)
		}
	}
}

func TestJUnitHasACaseForEachScenarioAndDetector(t *testing.T) {
	rep := scored(12)
	rep.Results[1].Known = []v1alpha1.KnownFailure{{Scenario: "*", Detector: "mi*", Why: "not built yet", Until: "2027-01-31"}}
	var b bytes.Buffer
	if err := WriteJUnit(&b, rep); err != nil {
		t.Fatal(err)
	}
	var doc junitSuites
	if err := xml.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	of := map[string]junitSuite{}
	for _, s := range doc.Suites {
		of[s.Name] = s
	}
	for _, s := range doc.Suites[1:] {
		if s.Tests != 12 {
			t.Errorf("%s has %d cases", s.Name, s.Tests)
		}
	}
	if kubectl := doc.Suites[3]; kubectl.Failures != 0 || kubectl.Skipped == 0 {
		t.Errorf("a reference fails nothing: %d failures, %d skipped", kubectl.Failures, kubectl.Skipped)
	}
	mine := of["mine"]
	if known := mine.Cases[1]; known.Skipped == nil || !strings.Contains(known.Skipped.Message, "known until 2027-01-31: not built yet") {
		t.Errorf("a known failure: %+v", known)
	}
	if c := mine.Cases[2]; c.Failure == nil || c.Name != "swap-on [mine]" || !strings.Contains(c.SystemOut, "not named") {
		t.Errorf("a miss: %+v", c)
	}
	if c := mine.Cases[0]; !strings.Contains(c.SystemOut, "found after 31 s, +11.0 s from its signal, right cause") {
		t.Errorf("a hit: %s", c.SystemOut)
	}
}
