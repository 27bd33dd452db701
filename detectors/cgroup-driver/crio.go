package cgroupdriver

import (
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// crioTexts are CRI-O's refusals of a pod whose cgroup is named for the other driver.
var crioTexts = []string{words.CgroupfsGotSlice, words.SystemdGotNoSlice}

// crioDiffers tells that CRI-O has another driver than the kubelet, which asked for it only when it started.
func crioDiffers(o *v1alpha1.Observation, kubelet string) bool {
	return facts.Runtime(o).Name == facts.CRIO && o.Runtime.CgroupDriver != "" && o.Runtime.CgroupDriver != kubelet
}

// agreeCRIO makes CRI-O use systemd's cgroups, which is one setting for all handlers, and takes a script out of runc's place. The kubelet
// asks CRI-O.
func agreeCRIO(o *v1alpha1.Observation, kubelet string, outside []v1alpha1.ContainerUsage, script v1alpha1.File, hasScript bool) (*v1alpha1.Remedy, string) {
	files := o.Runtime.ConfigFiles
	if len(files) == 0 {
		files = []string{"/etc/crio/crio.conf"}
	}
	cgroupfs := false
	for _, r := range o.Runtime.ConfigFile.Handlers {
		cgroupfs = cgroupfs || r.SystemdCgroup != nil && !*r.SystemdCgroup
	}
	named := ""
	for _, r := range handlersOf(o) {
		if hasScript && r.BinaryName == script.Path {
			named = script.Path
		}
	}
	var steps []v1alpha1.Step
	if cgroupfs || named != "" {
		steps = append(steps, useSystemd(o.Node, files, named))
	}
	if hasScript && named == "" {
		steps = append(steps, detectors.RestoreStep(o.Node, script.Path, "a script stands in its place and passes another driver than configured"))
	}
	mends := len(steps) > 0
	if mends || kubelet == "cgroupfs" {
		steps = append(steps, restarts(o, kubelet)...)
	}
	steps = append(steps, remade(o, outside, mends)...)
	if len(steps) == 0 {
		return nil, "CRI-O and kubelet name the same driver, and what starts containers elsewhere is not seen: look at the handler's runtime_path, and at cgroupRoot of the kubelet"
	}
	return facts.Place(o).NewRemedy("agree-on-systemd", steps...), ""
}

// useSystemd sets cgroup_manager in each of CRI-O's merged files that has it, and drops the runtime_path that names the script: CRI-O then
// looks for the program by the handler's name. The script is moved aside. It fails where no file says either.
func useSystemd(node string, files []string, script string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, "CRI-O uses systemd's cgroups from its next start on", files, `done=
for f; do
  [ -f "$f" ] || continue
  new=$(s="$script" awk '
/^[ \t]*cgroup_manager[ \t]*=/ { sub(/=.*/, "= \"systemd\"") }
ENVIRON["s"] != "" && /^[ \t]*runtime_path[ \t]*=/ && index($0, "\"" ENVIRON["s"] "\"") { next }
{ print }' "$f")
  [ "$new" = "$(cat "$f")" ] || { printf '%s\n' "$new" > "$f"; done=1; }
done
[ "$done" ] || { echo "no file of CRI-O's sets cgroup_manager or that runtime_path: set cgroup_manager = \"systemd\" by hand" >&2; exit 1; }
[ -z "$script" ] || grep -qsF -- "$script" "$@" || mv -fT -- "$script" "$script`+v1alpha1.Aside+`"`, detectors.V("script", script))
}
