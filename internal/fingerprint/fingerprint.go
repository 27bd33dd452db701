// Package fingerprint writes down the state of a node and its host before a run, so that a second look after it can prove that
// nothing was left behind.
//
// A fingerprint is keys and values by area (files, mounts, units, …) with everything left out that a healthy node changes by
// itself: pod mounts, container cgroups, kube-proxy's and the network plugin's rules. It knows nothing of injectors: whoever
// compares two fingerprints learns what differs, not who did it.
package fingerprint

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Areas of a fingerprint.
const (
	Files      = "files"      // path → kind, mode, owner, attributes and content hash (or size and time for large files)
	Mounts     = "mounts"     // mount point → type, source, root, options
	Units      = "units"      // service or timer → load and active state, unit file state
	Processes  = "processes"  // executable below a system service → present; also stopped ones
	Cgroups    = "cgroups"    // cgroup outside pods → cpu quota, freezer state
	Rules      = "rules"      // packet filter rule outside kube-proxy's and the network plugin's chains
	Routes     = "routes"     // destination and table → via, device
	Images     = "images"     // image id → tags
	Sysctls    = "sysctls"    // key → value
	Modules    = "modules"    // kernel module → present
	Loops      = "loops"      // loop device → backing file (host only: loop devices belong to the kernel)
	Swaps      = "swaps"      // swap area → size (host only)
	Containers = "containers" // engine container → state (host only)
	Volumes    = "volumes"    // engine volume → driver (host only)
	Networks   = "networks"   // engine network → driver (host only)
	Objects    = "objects"    // API object → what of it must not change
)

// Fingerprint is one state, by area and key.
type Fingerprint struct {
	Of    string                       `json:"of"` // node name, "host", or "api"
	At    time.Time                    `json:"at"`
	Areas map[string]map[string]string `json:"areas"`
	// Unknown are areas that could not be read, with the reason. An unknown area never equals anything.
	Unknown map[string]string `json:"unknown,omitempty"`
}

// New returns an empty fingerprint.
func New(of string, at time.Time) *Fingerprint {
	return &Fingerprint{Of: of, At: at, Areas: map[string]map[string]string{}, Unknown: map[string]string{}}
}

// Set writes one value.
func (f *Fingerprint) Set(area, key, value string) {
	if f.Areas[area] == nil {
		f.Areas[area] = map[string]string{}
	}
	f.Areas[area][key] = value
}

// Fail marks an area as unreadable.
func (f *Fingerprint) Fail(area string, err error) {
	if err != nil {
		f.Unknown[area] = err.Error()
	}
}

// Merge takes the areas of another fingerprint into f.
func (f *Fingerprint) Merge(o *Fingerprint) {
	for area, kv := range o.Areas {
		for k, v := range kv {
			f.Set(area, k, v)
		}
	}
	for area, why := range o.Unknown {
		f.Unknown[area] = why
	}
}

// NameGateways puts names in the place of gateways' addresses that have one: a node is the same way to its pods when the engine has
// given it another address.
func (f *Fingerprint) NameGateways(names map[string]string) {
	for k, v := range f.Areas[Routes] {
		words := strings.Fields(v)
		if len(words) < 2 || words[0] != "via" {
			continue
		}
		if name, ok := names[words[1]]; ok {
			words[1] = name
			f.Set(Routes, k, strings.Join(words, " "))
		}
	}
}

// Change is one difference.
type Change struct {
	Of     string `json:"of"`
	Area   string `json:"area"`
	Key    string `json:"key"`
	Before string `json:"before"` // empty when it was not there
	After  string `json:"after"`  // empty when it is gone
}

// Arrow stands between what was and what is in a change's text.
const Arrow = " → "

func (c Change) String() string {
	switch {
	case c.Before == "":
		return fmt.Sprintf("%s: + %s %s (%s)", c.Of, c.Area, c.Key, c.After)
	case c.After == "":
		return fmt.Sprintf("%s: - %s %s (%s)", c.Of, c.Area, c.Key, c.Before)
	}
	return fmt.Sprintf("%s: ~ %s %s: %s%s%s", c.Of, c.Area, c.Key, c.Before, Arrow, c.After)
}

// Diff lists what differs, sorted. An area that is unknown on either side is a change: unread is not equal.
func Diff(before, after *Fingerprint) []Change {
	var out []Change
	read := func(f *Fingerprint, area string) string {
		if why, bad := f.Unknown[area]; bad {
			return "could not be read: " + why
		}
		return "read"
	}
	for _, area := range keys(maps.Keys(before.Areas), maps.Keys(after.Areas), maps.Keys(before.Unknown), maps.Keys(after.Unknown)) {
		if b, a := read(before, area), read(after, area); b != "read" || a != "read" {
			out = append(out, Change{after.Of, area, "*", b, a})
			continue
		}
		b, a := before.Areas[area], after.Areas[area]
		for _, k := range keys(maps.Keys(b), maps.Keys(a)) {
			v, had := b[k]
			w, has := a[k]
			c := Change{Of: after.Of, Area: area, Key: k}
			if had {
				c.Before = cmp.Or(v, "-")
			}
			if has {
				c.After = cmp.Or(w, "-")
			}
			if c.Before != c.After {
				out = append(out, c)
			}
		}
	}
	return out
}

// keys are all of them, sorted, each once.
func keys(of ...iter.Seq[string]) []string {
	var out []string
	for _, seq := range of {
		out = slices.AppendSeq(out, seq)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
