// Package version says which sickbay this is: the same in the command and in the agent.
package version

import (
	"runtime"
	"runtime/debug"
)

// stamped is set by the linker: -X github.com/sickbay-dev/sickbay/internal/version.stamped=v1.2.3.
var stamped string

// Info is what `sickbay version -o json` prints.
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get is this program's version.
func Get() Info {
	bi, _ := debug.ReadBuildInfo()
	return of(stamped, bi)
}

// String is the version alone, for reports.
func String() string { return Get().Version }

// of prefers the stamp, then the module's version, then the revision: `go build` without a stamp, or from a tarball.
func of(stamp string, bi *debug.BuildInfo) Info {
	v := Info{Version: stamp, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if bi == nil {
		bi = &debug.BuildInfo{}
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	if v.Version == "" && bi.Main.Version != "(devel)" {
		v.Version = bi.Main.Version
	}
	if v.Version == "" {
		v.Version = "devel"
		if v.Revision != "" {
			v.Version += "-" + v.Revision[:min(12, len(v.Revision))]
		}
		if v.Modified {
			v.Version += "-dirty"
		}
	}
	return v
}
