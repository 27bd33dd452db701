package imagepull

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// certs.d and hosts.toml as containerd reads them (core/remotes/docker/config/hosts.go): a pull tries each [host."URL"] in the
// file's order and the server last, by default the registry itself. The keys before the first table are the server's. An entry
// in a registry's own directory keeps _default from it.

const certsDir = "/etc/containerd/certs.d"

// hasHostsTOML: CRI-O and Docker know no hosts.toml, they trust every *.crt in a registry's directory.
func hasHostsTOML(o *v1alpha1.Observation) bool {
	name := facts.Runtime(o).Name
	return name != facts.CRIO && name != facts.Docker
}

// ownDir is the directory of a registry of its own, whether it exists or not.
func ownDir(o *v1alpha1.Observation, r *v1alpha1.RegistryHost, host string) string {
	switch facts.Runtime(o).Name {
	case facts.CRIO:
		return path.Join("/etc/containers/certs.d", host)
	case facts.Docker:
		return path.Join("/etc/docker/certs.d", host)
	}
	if r != nil && r.Path != "" && !isDefault(r) {
		return path.Dir(r.Path)
	}
	if first, _, _ := strings.Cut(o.Runtime.ConfigFile.ConfigPath, ":"); first != "" {
		return path.Join(first, host)
	}
	return path.Join(certsDir, host)
}

// writers are the distributions that write hosts.toml themselves, at every start, by the root of what they write and the file that
// they write it from.
var writers = map[string]string{
	"/var/lib/rancher/k3s/":  "/etc/rancher/k3s/registries.yaml",
	"/var/lib/rancher/rke2/": "/etc/rancher/rke2/registries.yaml",
}

// managed tells which file decides instead of the registry's hosts.toml, and why that has to be changed by its owner; nothing where
// hosts.toml does.
func managed(o *v1alpha1.Observation, r *v1alpha1.RegistryHost, host string) (file, why string) {
	dir := ownDir(o, r, host)
	for root, from := range writers {
		if strings.HasPrefix(dir, root) {
			return from, dir + " is written from it at every start"
		}
	}
	if hasHostsTOML(o) && (r == nil || r.Path == "") && o.Runtime.ConfigFile.ConfigPath == "" && o.Runtime.ConfigFile.Path != "" && readsNone(o.Runtime.Version) {
		return cmp.Or(o.Runtime.ConfigFile.Path, "containerd's configuration"), "it sets no config_path, so this containerd reads no hosts.toml"
	}
	return "", ""
}

// readsNone tells that a containerd looks into certs.d only where config_path says so: those before 2.3.
func readsNone(version string) bool {
	return regexp.MustCompile(`^v?(1\.|2\.[0-2]\.)`).MatchString(version)
}

// isDefault: the file is that of all registries without a directory of their own.
func isDefault(r *v1alpha1.RegistryHost) bool {
	return r.Path != "" && path.Base(path.Dir(r.Path)) == "_default"
}

// casFor are the CAs that count for one of the file's hosts: its own, or for the server those before the first table.
func casFor(r *v1alpha1.RegistryHost, host string) []string {
	if r == nil {
		return nil
	}
	rest := slices.Clone(r.CAs)
	for _, m := range r.Mirrors {
		if urlHost(m.URL) == host {
			return m.CAs
		}
		rest = slices.DeleteFunc(rest, func(c string) bool { return slices.Contains(m.CAs, c) })
	}
	return rest
}

// hostsEdit is a change of a hosts.toml that leaves the rest of it as it is. Made twice it is the same as made once.
type hostsEdit struct {
	// cas are to be trusted for the [host] of the URL; orServer: where there is no such table, for the server.
	url      string
	orServer bool
	cas      []string
	// drop are the URLs of hosts to take out, dropServer takes out what stands in the registry's place.
	drop       []string
	dropServer bool
}

// step makes the change in a file that is there. It changes nothing, and fails, where it does not find the table.
func (e hostsEdit) step(node, why, file, copyOf string) v1alpha1.Step {
	ca, flag := "", map[bool]string{true: "1"}
	if len(e.cas) > 0 {
		ca = "[" + quotedList(e.cas) + "]"
	}
	return detectors.EditFile(v1alpha1.Safe, node, why, []string{file}, `f=$1
if [ -n "$from" ]; then mkdir -p -- "${f%/*}"; cp -an -- "$from/." "${f%/*}/"; fi
new=$(url="$url" orserver="$orserver" ca="$ca" drop="$drop" dropserver="$dropserver" awk '
BEGIN { q = "[\"\047]"; any = "[^\"\047]*"; head = "^[ \t]*\\[[ \t]*host[ \t]*\\.[ \t]*" q; root = 1
  url = ENVIRON["url"]; orserver = ENVIRON["orserver"]; ca = ENVIRON["ca"]; drop = ENVIRON["drop"]; dropserver = ENVIRON["dropserver"] }
function put() { print (url == "" ? "" : "  ") "ca = " ca; done = 1 }
function header() { return $0 ~ "^[ \t]*\\[+[ \t]*[A-Za-z_]" }
function named(line) { if (line !~ head) return ""; sub("^" any q, "", line); sub(q ".*", "", line); return line }
function table() { return $0 ~ head any q "[ \t]*\\]" ? named($0) : "" }
NR == FNR { if (url != "" && table() == url) found = 1; next }
FNR == 1 && url != "" && !found { if (!orserver) { failed = 1; exit 1 } url = "" }
FNR == 1 && url == "" && ca != "" { put() }
rest { if ($0 ~ "\\]") rest = 0; next }
header() {
  root = 0
  gone = named($0) != "" && index(drop, " " named($0) " ")
  inside = url != "" && table() == url
  if (gone) next
  print
  if (inside && ca != "") put()
  next
}
gone { next }
(root && url == "" || inside) && ca != "" && $0 ~ "^[ \t]*ca[ \t]*=" { if ($0 ~ "\\[" && $0 !~ "\\]") rest = 1; next }
root && dropserver && $0 ~ "^[ \t]*server[ \t]*=" { next }
{ print }
END { if (failed) exit 1; if (ca != "" && !done) { url = ""; put() } }' "$f" "$f") || { echo "$f has no table for $url: name the CA there by hand" >&2; exit 1; }
printf '%s\n' "$new" > "$f"`, detectors.V("url", e.url), detectors.V("orserver", flag[e.orServer]), detectors.V("ca", ca),
		detectors.V("drop", " "+strings.Join(e.drop, " ")+" "), detectors.V("dropserver", flag[e.dropServer]), detectors.V("from", copyOf))
}

func quotedList(list []string) string {
	quoted := make([]string, len(list))
	for i, c := range list {
		quoted[i] = strconv.Quote(c)
	}
	return strings.Join(quoted, ", ")
}

// writeHosts writes a hosts.toml that has the CAs; with a host it sends the pulls of that registry to itself alone.
func writeHosts(node, why, file, host string, cas []string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, why, []string{file}, `f=$1
mkdir -p -- "${f%/*}"
if [ -z "$host" ]; then printf 'ca = [%s]\n' "$cas" > "$f"
else printf 'server = "https://%s"\n\n[host."https://%s"]\n  capabilities = ["pull", "resolve"]\n  ca = [%s]\n' "$host" "$host" "$cas" > "$f"; fi`,
		detectors.V("host", host), detectors.V("cas", quotedList(cas)))
}

// trustCA puts a CA into a file, which it takes from the operator's word, a file of the node or the chain that the server shows, always by
// its fingerprint: in the place of one of the same subject (a CA that was renewed), beside all others, which may serve other hosts. It
// changes nothing, and fails, where the server does not verify with the file.
func trustCA(node, why, server, name string, by v1alpha1.TrustedCA, ca string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, why, []string{ca}, `nth() { awk -v n="$1" '/-BEGIN CERTIFICATE-/ { i++ } i == n { print } i == n && /-END CERTIFICATE-/ { exit }'; }
fingerprint() { sed '/^-/d; s|[^A-Za-z0-9+/=]||g' | base64 -d 2>/dev/null | sha256sum; }
subject() { openssl x509 -noout -subject; }
if [ -n "$der" ]; then all=$(printf '%s\n' '-----BEGIN CERTIFICATE-----' "$(printf '%s' "$der" | fold -w 64)" '-----END CERTIFICATE-----')
elif [ -n "$from" ]; then all=$(cat -- "$from")
else all=$(openssl s_client -showcerts -connect "$server" -servername "$name" </dev/null 2>/dev/null); fi
new='' i=1
while [ -z "$new" ] && c=$(printf '%s\n' "$all" | nth $i) && [ -n "$c" ]; do
  case $(printf '%s\n' "$c" | fingerprint) in "$sha "*) new=$c ;; esac
  i=$((i + 1))
done
[ -n "$new" ] || { echo "there is no certificate of the fingerprint $sha any more" >&2; exit 1; }
had=$(cat -- "$1" 2>/dev/null || true)
of=$(printf '%s\n' "$new" | subject)
keep='' i=1
while c=$(printf '%s\n' "$had" | nth $i); [ -n "$c" ]; do
  if [ "$c" != "$new" ] && [ "$(printf '%s\n' "$c" | subject)" != "$of" ]; then keep="$keep$c
"; fi
  i=$((i + 1))
done
mkdir -p -- "${1%/*}"
try=$1`+v1alpha1.Aside+`-try
printf '%s%s\n' "$keep" "$new" > "$try"
openssl s_client -connect "$server" -servername "$name" -CAfile "$try" -partial_chain -verify_return_error </dev/null >/dev/null 2>&1 || { echo "$server does not verify by $sha" >&2; exit 1; }
cat "$try" > "$1"`, detectors.V("server", server), detectors.V("name", name), detectors.V("sha", by.SHA256), detectors.V("from", by.Path), detectors.V("der", by.DER))
}
