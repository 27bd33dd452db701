package systemd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnits(t *testing.T) {
	out := "Id=kubelet.service\nExecStart={ path=/k ; argv[]=/k --a=b ; ignore_errors=no ; }\n\nId=a.timer\nResult=\n"
	want := []map[string]string{
		{"Id": "kubelet.service", "ExecStart": "{ path=/k ; argv[]=/k --a=b ; ignore_errors=no ; }"},
		{"Id": "a.timer", "Result": ""},
	}
	if diff := cmp.Diff(want, Units(out)); diff != "" {
		t.Error(diff)
	}
	if got := Units("\n"); got != nil {
		t.Errorf("units in nothing: %v", got)
	}
	if got := Argv(want[0]["ExecStart"]); got != "/k --a=b" {
		t.Errorf("argv %q", got)
	}
	if got := Argv(""); got != "" {
		t.Errorf("argv %q of nothing", got)
	}
}
