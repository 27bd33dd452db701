package cluster

// RuntimeLabel is a label of node images that says which runtime is in them; containerd where there is none.
const RuntimeLabel = "sickbay.dev/runtime"

// crioRuntime is its value for CRI-O.
const crioRuntime = "crio"

// imageTools are the commands with which a node's own runtime reads and writes images.
type imageTools struct {
	// names prints the names of all images, and workload the agnhost images with 1 behind those that are pinned. The runtime may still be
	// starting.
	names, workload string
	// export writes images ($2 and on) to a file ($1) as an OCI layout, and its size when it is whole.
	export string
	// imports reads such an archive from standard input, load what the engine saves of the image that is appended.
	imports, load []string
	// pin pins the image that is appended; nil where the runtime's configuration does.
	pin []string
}

// containerdTools are for containerd; its names are also ids, which it lists as names.
var containerdTools = imageTools{
	names: `ctr -n k8s.io images ls -q`,
	workload: `i=0; until ctr -n k8s.io version >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done
all=$(ctr -n k8s.io images ls 'name~="/agnhost:"') || exit 1
echo "$all" | awk 'NR>1 {print $1, /io.cri-containerd.pinned=pinned/}'`,
	export:  `f=$1; shift; ctr -n k8s.io images export "$f" "$@" >/dev/null && stat -c %s "$f"`,
	imports: []string{"ctr", "-n", "k8s.io", "images", "import", "--digests", "-"},
	load:    []string{"sh", "-c", `exec ctr -n k8s.io images import --digests --snapshotter=overlayfs -`, "sh"},
	pin:     []string{"ctr", "-n", "k8s.io", "images", "label"},
}

// crioTools are for CRI-O, which shares its storage with skopeo.
var crioTools = imageTools{
	names: `all=$(crictl images -o json) || exit 1; echo "$all" | jq -r '.images[].repoTags[]?'`,
	workload: `i=0; until crictl version >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done
all=$(crictl images -o json) || exit 1
echo "$all" | jq -r '.images[] | (if .pinned then " 1" else " 0" end) as $pinned | .repoTags[]? | select(contains("/agnhost:")) + $pinned'`,
	export: `f=$1; shift; trap 'rm -rf "$f.d"' EXIT
for ref; do skopeo copy --quiet "containers-storage:$ref" "oci:$f.d:$ref" || exit; done >/dev/null
tar -cf "$f" -C "$f.d" . && stat -c %s "$f"`,
	imports: []string{"sh", "-c", `d=$(mktemp -d) && trap 'rm -rf "$d"' EXIT && tar -xf - -C "$d" || exit
jq -r '.manifests[].annotations["org.opencontainers.image.ref.name"]' "$d/index.json" | while read -r ref; do
  skopeo copy --quiet "oci:$d:$ref" "containers-storage:$ref" || exit
done`},
	load: []string{"sh", "-c", `f=$(mktemp) && trap 'rm -f "$f"' EXIT && cat >"$f" && skopeo copy --quiet "docker-archive:$f:$1" "containers-storage:$1"`, "sh"},
}

// Runtime is what the nodes' image says of their runtime; empty for containerd.
func (c *Cluster) Runtime() string {
	for _, k := range c.containers {
		if r := k.Config.Labels[RuntimeLabel]; r != "" && k.role() != "" {
			return r
		}
	}
	return ""
}

// tools are those of a node.
func (c *Cluster) tools(name string) imageTools {
	for _, k := range c.containers {
		if k.name() == name && k.Config.Labels[RuntimeLabel] == crioRuntime {
			return crioTools
		}
	}
	return containerdTools
}
