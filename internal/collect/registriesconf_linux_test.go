package collect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// CRI-O knows registries by registries.conf and its drop-ins, CAs by two folders of which the first that has the host counts.
func TestRegistriesConf(t *testing.T) {
	ca, other := newAuthority(t, "ours"), newAuthority(t, "theirs")
	serves := func(a authority) string { return serve(t, a.issue(t, -time.Hour, time.Hour, "127.0.0.1")) }
	well, strange, docker, insecure := serves(ca), serves(other), serves(ca), serves(other)
	gone, mirrored, moved := unused(t), unused(t), unused(t)
	const dir, docks = "/etc/containers/certs.d/", "/etc/docker/certs.d/"
	l := at(t, tree(t, map[string]string{
		registriesConfFile: fmt.Sprintf("unqualified-search-registries = [\"first.test\"]\n[[registry]]\nprefix = %[1]q\nlocation = %[1]q\nblocked = true\n", mirrored),
		registriesConfFile + ".d/10-a.conf": fmt.Sprintf("[[registry]]\nlocation = %[1]q\n[[registry.mirror]]\nlocation = %[2]q\n[[registry.mirror]]\nlocation = \"%[3]s/ns\"\npull-from-mirror = \"digest-only\"\n"+
			"[[registry.mirror]]\nlocation = %[4]q\ninsecure = true\n[[registry]]\nprefix = \"%[1]s/part\"\nlocation = \"%[5]s/part\"\n", mirrored, well, strange, insecure, gone),
		registriesConfFile + ".d/20-b.conf":                   fmt.Sprintf("unqualified-search-registries = [\"second.test\"]\n[[registry]]\nprefix = %q\nlocation = \"%s/to\"\n[[registry]]\nprefix = \"*.blocked.test\"\nblocked = true\n", moved, docker),
		registriesConfFile + ".d/30-c.conf.x":                 "[[registry",
		dir + well + "/ca.crt":                                ca.pem(),
		docks + well + "/ca.crt":                              other.pem(), // the first folder counts
		docks + docker + "/ca.crt":                            ca.pem(),
		"/etc/containerd/certs.d/" + mirrored + "/hosts.toml": "server = \"https://not-read\"\n",
	}))
	l.runtime.name = "cri-o"
	for _, h := range []string{mirrored, moved, strange, "a.blocked.test"} {
		l.failedPulls = append(l.failedPulls, failedPull{h, l.start})
	}
	o := read(t, l, l.registries, l.reachRegistries)
	seen := map[string]string{}
	for _, r := range o.Registries {
		var all []string
		for _, m := range r.Mirrors {
			all = append(all, strings.TrimSpace(strings.TrimPrefix(m.URL, "https://")+" "+m.Reach+" "+m.Pulls))
		}
		if r.Origin != nil {
			all = append(all, "then "+strings.TrimPrefix(r.Origin.URL, "https://")+" "+r.Origin.Reach)
		}
		key := r.Host
		if r.Prefix != "" {
			key = r.Prefix
		}
		seen[key] = strings.Join(all, ", ")
		if r.Blocked {
			seen[key] += " blocked"
		}
	}
	seen["a.blocked.test"] = strings.Replace(seen["a.blocked.test"], " dns", " ", 1)
	for host, want := range map[string]string{
		mirrored:           well + " ok, " + strange + "/ns tls-untrusted digest-only, " + insecure + " ok, then " + mirrored + " refused",
		mirrored + "/part": gone + "/part refused",
		moved:              docker + "/to ok",
		strange:            strange + " tls-untrusted",
		"*.blocked.test":   " blocked",
		"a.blocked.test":   "a.blocked.test  blocked",
	} {
		if seen[host] != want {
			t.Errorf("%s:\n got %q\nwant %q", host, seen[host], want)
		}
	}
	if !slices.Equal(o.Runtime.SearchRegistries, []string{"second.test"}) {
		t.Errorf("short names are looked for in %q", o.Runtime.SearchRegistries)
	}
	i := slices.IndexFunc(o.Registries, func(r v1alpha1.RegistryHost) bool { return r.Host == moved })
	if r := o.Registries[i]; r.Path != registriesConfFile+".d/20-b.conf" || r.Server != "https://"+docker || !slices.Equal(r.CAs, []string{docks + docker + "/ca.crt"}) {
		t.Errorf("%+v", r)
	}
}

// One entry that CRI-O refuses fails every pull, as does a file that is no TOML.
func TestRegistriesConfIsWrong(t *testing.T) {
	for _, text := range []string{"[[registry", "[[registry]]\nlocation = \"https://r.test\"\n", "[[registry]]\nprefix = \"r.test\"\n", "[[registry]]\nlocation = \"r.test\"\n[[registry.mirror]]\ninsecure = true\n"} {
		l := at(t, tree(t, map[string]string{registriesConfFile: text, registriesConfFile + ".d/a.conf": "[[registry]]\nlocation = \"ours.test\"\n"}))
		l.runtime.name = "cri-o"
		if r := read(t, l, l.registries).Registries; len(r) != 1 || r[0].Host != "_default" || r[0].Path != registriesConfFile || r[0].Error == "" {
			t.Errorf("%q: %+v", text, r)
		}
	}
}
