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

// Whoever chooses a name, a path or a message of a node has nothing run by it, nothing taken for an option and nothing broken up: in no
// step of a remedy of a recording, in nothing that takes one back and in no command of a text.
func TestHostileRecordings(t *testing.T) {
	dirs, err := filepath.Glob("testdata/recorded*/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}
	hostile := detectorstest.Hostile{Few: true}
	for _, path := range dirs {
		hostile.Check(t, recorded(t, filepath.Dir(path)))
	}
	if hostile.Judged < 300 || hostile.Ran < 100 {
		t.Errorf("only %d histories were judged and %d commands interpreted", hostile.Judged, hostile.Ran)
	}
	t.Logf("%d histories judged, %d commands interpreted", hostile.Judged, hostile.Ran)
}
