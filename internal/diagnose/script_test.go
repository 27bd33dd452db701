package diagnose

import (
	run "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// Only the step that is asked for runs, with its words as they are; no text of a finding is more than a comment.
func TestWriteScript(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "it's $(made)")
	evil := "x\ntouch " + filepath.Join(dir, "pwned") + "\n$(touch " + filepath.Join(dir, "pwned") + ")\x1b[2K"
	d := v1alpha1.Diagnosis{Findings: []v1alpha1.Finding{
		{Failure: "cni", Cause: "ipam-exhausted", Node: evil, Summary: evil, ManualAction: evil},
		{Failure: "swap", Cause: "swap-on", Node: "n", Summary: "s", Remedy: &v1alpha1.Remedy{Name: "r", Steps: []v1alpha1.Step{
			detectors.NodeStep(v1alpha1.Safe, "n", evil, "false"),
			detectors.ShellStep(v1alpha1.Safe, "n", "w", `echo "$f" > "$f"`, detectors.V("f", made)),
		}}},
	}}
	var b strings.Builder
	if err := WriteScript(&b, d); err != nil || strings.Contains(b.String(), "\x1b") {
		t.Fatal(err, b.String())
	}
	call := func(args ...string) (string, error) {
		out, err := run.CommandContext(t.Context(), "bash", append([]string{"-c", b.String(), "fix.sh"}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := call(); err != nil || out != "  1  on node n, safe\n  2  on node n, safe\n" {
		t.Errorf("%v %q\n%s", err, out, b.String())
	}
	if files, _ := filepath.Glob(dir + "/*"); len(files) != 0 {
		t.Errorf("something ran: %v", files)
	}
	if _, err := call("2"); err != nil {
		t.Error(err)
	}
	if _, err := call("1"); err == nil {
		t.Error("step 1 did not run")
	}
	if files, _ := filepath.Glob(dir + "/*"); len(files) != 1 || files[0] != made {
		t.Errorf("%v", files)
	}
}
