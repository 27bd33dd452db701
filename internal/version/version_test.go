package version

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	built := func(module string, settings ...string) *debug.BuildInfo {
		bi := &debug.BuildInfo{Main: debug.Module{Version: module}}
		for i := 0; i < len(settings); i += 2 {
			bi.Settings = append(bi.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return bi
	}
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		stamp string
		bi    *debug.BuildInfo
		want  string
	}{
		{"v1.2.3", built("(devel)", "vcs.revision", revision), "v1.2.3"},
		{"", built("v0.9.0"), "v0.9.0"},
		{"", built("(devel)", "vcs.revision", revision), "devel-0123456789ab"},
		{"", built("(devel)", "vcs.revision", revision, "vcs.modified", "true"), "devel-0123456789ab-dirty"},
		{"", built("(devel)", "vcs.revision", "abc"), "devel-abc"},
		{"", nil, "devel"},
	} {
		if got := of(c.stamp, c.bi).Version; got != c.want {
			t.Errorf("stamp %q, %v: %s, want %s", c.stamp, c.bi, got, c.want)
		}
	}
}
