package nodeimage

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// sbomFile is where a node has the list of what it is made of.
const sbomFile = "kind/sickbay/sbom.cdx.json"

// bom is the part of CycloneDX 1.6 that names packages. It has neither a date nor a serial number: the same parts give the same bytes.
type bom struct {
	Format     string         `json:"bomFormat"`
	Spec       string         `json:"specVersion"`
	Version    int            `json:"version"`
	Components []bomComponent `json:"components"`
}

type bomComponent struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// sbom lists the Debian packages of the root file system and the Go modules of all programs, the images' inside included.
func (p *plan) sbom(packages []byte) ([]byte, error) {
	list := debianComponents(string(packages))
	for _, part := range p.programs() {
		files, err := filepath.Glob(filepath.Join(p.cache.path(part), "bin", "*"))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			info, err := buildinfo.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("listing what %s is made of: %w", filepath.Base(f), err)
			}
			list = append(list, goComponents(info)...)
		}
	}
	slices.SortFunc(list, func(a, b bomComponent) int { return strings.Compare(a.PURL, b.PURL) })
	data, err := json.MarshalIndent(bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: slices.Compact(list)}, "", " ")
	return append(data, '\n'), err
}

// debianComponents reads lines of name, version and architecture.
func debianComponents(packages string) []bomComponent {
	var out []bomComponent
	for line := range strings.Lines(packages) {
		if f := strings.Fields(line); len(f) == 3 {
			out = append(out, bomComponent{"library", f[0], f[1], fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=debian-12", f[0], url.QueryEscape(f[1]), f[2])})
		}
	}
	return out
}

// goComponents reads what a Go program says of itself: its modules, and the standard library it was compiled with.
func goComponents(info *debug.BuildInfo) []bomComponent {
	module := func(path, version string) bomComponent {
		return bomComponent{"library", path, version, "pkg:golang/" + path + "@" + url.QueryEscape(version)}
	}
	out := []bomComponent{module("stdlib", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		out = append(out, module(d.Path, d.Version))
	}
	return out
}
