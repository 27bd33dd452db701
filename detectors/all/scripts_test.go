package all_test

import (
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Shellcheck has nothing to say about any script that a remedy of a recording runs on a node.
func TestScripts(t *testing.T) {
	scripts := map[string]string{}
	wants, err := filepath.Glob("testdata/recorded*/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wants {
		detectorstest.Scripts(scripts, all.Judge(recorded(t, filepath.Dir(path))))
	}
	if len(scripts) < 20 {
		t.Fatalf("only %d scripts", len(scripts))
	}
	detectorstest.Shellcheck(t, scripts)
}
