package all_test

import (
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Shellcheck has nothing to say about any script that a remedy of a case or of a recording runs on a node.
func TestScripts(t *testing.T) {
	scripts := map[string]string{}
	collect := func(found []v1alpha1.Finding) {
		for _, f := range found {
			if f.Remedy == nil {
				continue
			}
			for _, s := range f.Remedy.Steps {
				if len(s.Exec) == 3 && s.Exec[0] == "sh" {
					// One of several alike is enough: they differ in what is quoted into them.
					scripts[f.Failure+"/"+f.Cause+": "+s.Why] = s.Exec[2]
				}
			}
		}
	}
	for _, c := range sick {
		collect(all.Judge(history(c)))
	}
	wants, err := filepath.Glob("testdata/recorded*/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wants {
		collect(all.Judge(recorded(t, filepath.Dir(path))))
	}
	if len(scripts) < 30 {
		t.Fatalf("only %d scripts", len(scripts))
	}
	detectorstest.Shellcheck(t, scripts)
}
