package collect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	toml "github.com/pelletier/go-toml/v2"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

// registriesConfFile is what CRI-O knows registries by; the drop-ins of the folder beside it are read after it, by name, and an entry
// takes the place of an earlier one of the same prefix (containers/image pkg/sysregistriesv2).
const registriesConfFile = "/etc/containers/registries.conf"

// registriesConf is the part of such a file that is read: version 2.
type registriesConf struct {
	Search     []string        `toml:"unqualified-search-registries"`
	Registries []registryEntry `toml:"registry"`
}

type registryEntry struct {
	Prefix     string `toml:"prefix"`
	Location   string `toml:"location"`
	Insecure   bool   `toml:"insecure"`
	Blocked    bool   `toml:"blocked"`
	DigestOnly bool   `toml:"mirror-by-digest-only"`
	Mirrors    []struct {
		Location string `toml:"location"`
		Insecure bool   `toml:"insecure"`
		Pulls    string `toml:"pull-from-mirror"`
	} `toml:"mirror"`
}

// registriesConf reads the files in their order. One that cannot be read fails every pull, so it stands for all registries.
func (l *look) registriesConf(s *source) (out []v1alpha1.RegistryHost, search []string, err error) {
	files := []string{registriesConfFile}
	names, _ := l.root.names(registriesConfFile+".d", 200)
	for _, n := range names {
		if path.Ext(n) == ".conf" {
			files = append(files, path.Join(registriesConfFile+".d", n))
		}
	}
	for _, p := range files {
		if err := s.at(l, "reading", p); err != nil {
			return nil, nil, err
		}
		var c registriesConf
		b, err := l.root.readFile(p, 1<<20)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue
		}
		if err == nil {
			err = toml.Unmarshal(b, &c)
		}
		if c.Search != nil {
			search = c.Search
		}
		for _, e := range c.Registries {
			h, invalid := l.registryOf(e, p)
			err = cmp.Or(err, invalid)
			out = slices.DeleteFunc(out, func(o v1alpha1.RegistryHost) bool { return o.Host == h.Host && o.Prefix == h.Prefix })
			out = append(out, h)
		}
		if err != nil {
			return []v1alpha1.RegistryHost{{Host: "_default", Path: p, Error: redact.Text((&parseError{p, err}).Error())}}, search, nil
		}
	}
	return out, search, nil
}

// registryOf is one entry of the file. What its mirrors do not have is asked of its location, by default the registry itself.
func (l *look) registryOf(e registryEntry, file string) (v1alpha1.RegistryHost, error) {
	prefix, location := cmp.Or(e.Prefix, e.Location), strings.TrimRight(e.Location, "/")
	host, below, _ := strings.Cut(prefix, "/")
	h := v1alpha1.RegistryHost{Host: host, Path: file, Blocked: e.Blocked}
	if below != "" {
		h.Prefix = prefix
	}
	for _, m := range e.Mirrors {
		if strings.Contains(m.Location, "://") || m.Location == "" {
			return h, fmt.Errorf("mirror %q of %s: a location has a host and no scheme", m.Location, prefix)
		}
		pulls := m.Pulls
		if e.DigestOnly {
			pulls = "digest-only"
		}
		h.Mirrors = append(h.Mirrors, v1alpha1.RegistryMirror{URL: "https://" + m.Location, SkipVerify: m.Insecure, CAs: l.certsOf(m.Location), Pulls: pulls})
	}
	if strings.Contains(location, "://") || location == "" && !strings.HasPrefix(prefix, "*.") {
		return h, fmt.Errorf("registry %q: a location has a host and no scheme", prefix)
	}
	if location == "" || strings.HasPrefix(location, "*.") {
		return h, nil // the hosts below a domain, each by its own name
	}
	own := l.ownRegistry(location, e.Insecure)
	if to, _, _ := strings.Cut(location, "/"); to != host {
		h.Server = "https://" + to
	}
	if len(h.Mirrors) == 0 {
		h.Mirrors = []v1alpha1.RegistryMirror{own}
	} else {
		h.Origin = &own
	}
	for _, m := range append(slices.Clone(h.Mirrors), own) {
		h.CAs = append(h.CAs, m.CAs...)
	}
	slices.Sort(h.CAs)
	h.CAs = slices.Compact(h.CAs)
	return h, nil
}

// ownRegistry is a registry without anything before it.
func (l *look) ownRegistry(location string, insecure bool) v1alpha1.RegistryMirror {
	host, rest, _ := strings.Cut(location, "/")
	dial := host
	if dial == "docker.io" {
		dial = "registry-1.docker.io"
	}
	return v1alpha1.RegistryMirror{URL: strings.TrimSuffix("https://"+dial+"/"+rest, "/"), SkipVerify: insecure, CAs: l.certsOf(host)}
}

// certsOf are the CAs of a host where hosts.toml is unknown: those of the first folder that it has.
func (l *look) certsOf(location string) []string {
	host, _, _ := strings.Cut(location, "/")
	for _, dir := range []string{"/etc/containers/certs.d", "/etc/docker/certs.d"} {
		if names, err := l.root.names(path.Join(dir, host), 200); err == nil {
			return crtsOf(path.Join(dir, host), names)
		}
	}
	return nil
}

func crtsOf(dir string, names []string) (out []string) {
	for _, n := range names {
		if path.Ext(n) == ".crt" {
			out = append(out, path.Join(dir, n))
		}
	}
	return out
}

// ofRegistriesConf is how CRI-O asks a registry: what is configured for parts of it, or for its domain, else the registry itself.
func (l *look) ofRegistriesConf(entries []v1alpha1.RegistryHost, host string) (out []v1alpha1.RegistryHost) {
	for _, h := range entries {
		domain, below := strings.CutPrefix(h.Host, "*")
		if h.Host != host && !(below && strings.HasSuffix(host, domain)) {
			continue
		}
		if below && len(h.Mirrors) == 0 {
			h.Mirrors = []v1alpha1.RegistryMirror{l.ownRegistry(host, false)}
		} else if below {
			own := l.ownRegistry(host, false)
			h.Origin = &own
		}
		out = append(out, h)
	}
	if len(out) == 0 {
		out = []v1alpha1.RegistryHost{{Mirrors: []v1alpha1.RegistryMirror{l.ownRegistry(host, false)}}}
		out[0].CAs = out[0].Mirrors[0].CAs
	}
	return out
}
