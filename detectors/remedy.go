package detectors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/memo"
)

// Place is the node a remedy is for, and what reaches it.
type Place struct {
	Node string
	// API tells that the API server answers, so that cordon, drain and other API steps can be had.
	API bool
	// Cordoned nodes were cordoned by somebody: they stay so.
	Cordoned bool
}

// NodeStep runs plain words on the node.
func NodeStep(class v1alpha1.Class, node, why string, argv ...string) v1alpha1.Step {
	return finish(v1alpha1.Step{Class: class, On: node, Why: why, Exec: argv})
}

// script is program text. Only a constant becomes one: a word that was observed cannot be part of it, and goes in as a Var.
type script string

// Var is a word under the name by which a script has it.
type Var struct {
	name  script
	value string
}

// V gives a script a word, to be used as "$name".
func V(name script, value string) Var { return Var{name, value} }

// ShellStep runs a shell script on the node; it stops at the first command that fails.
func ShellStep(class v1alpha1.Class, node, why string, text script, vars ...Var) v1alpha1.Step {
	return ShellStepOn(class, node, why, nil, text, vars...)
}

// ShellStepOn is a ShellStep with a list of words, which the script has as "$@".
func ShellStepOn(class v1alpha1.Class, node, why string, list []string, text script, vars ...Var) v1alpha1.Step {
	var head strings.Builder
	var args []string
	for i, v := range vars {
		fmt.Fprintf(&head, "%s=$%d; ", v.name, i+1)
		args = append(args, v.value)
	}
	if len(vars) > 0 {
		fmt.Fprintf(&head, "shift %d\n", len(vars))
	}
	argv := []string{"sh", "-ec", head.String() + string(text)}
	if args = append(args, list...); len(args) > 0 {
		argv = slices.Concat(argv, []string{"sh"}, args)
	}
	return NodeStep(class, node, why, argv...)
}

// MoveAside moves a file or directory out of the way instead of deleting it; what was moved there before keeps a number. A
// kubelet reads every file of its static pods' directory, whatever it is called: there it is of no use.
func MoveAside(node, path, why string) v1alpha1.Step {
	aside := path + v1alpha1.Aside
	if readsAll(path) {
		at := strings.LastIndex(path, "/")
		aside = path[:at] + "." + path[at+1:] + v1alpha1.Aside
	}
	s := NodeStep(v1alpha1.Safe, node, why, "mv", "-T", "--backup=numbered", "--", path, aside)
	s.Undo = "mv -fT -- " + Quote(aside) + " " + Quote(path)
	return s
}

// readsAll tells a file in CRI-O's folder of drop-ins: CRI-O reads whatever lies in it and below, so a copy must not (pkg/config,
// UpdateFromPath).
func readsAll(path string) bool { return strings.Contains(path, crioDropIns) }

const crioDropIns = "/crio.conf.d/"

// asideOf is a shell's word for the copy of "$f". In one with drop-ins of CRI-O's a function tells it.
func asideOf(paths []string) (word, function string) {
	if !slices.ContainsFunc(paths, readsAll) {
		return "$f" + v1alpha1.Aside, ""
	}
	return `$(aside "$f")`, `aside() { case $1 in *` + crioDropIns + `*) printf %s.%s%s "${1%/*}" "${1##*/}" ` + v1alpha1.Aside + ` ;; *) printf %s%s "$1" ` + v1alpha1.Aside + ` ;; esac; }
`
}

// EditFile runs a script that changes files in place, which it has as "$@". A copy of each stays beside it, and comes back by itself
// where the script fails.
func EditFile(class v1alpha1.Class, node, why string, paths []string, text script, vars ...Var) v1alpha1.Step {
	aside, function := asideOf(paths)
	keep := function + `i=0 had=
for f; do i=$((i + 1)); if [ -e "$f" ]; then cp -aL --backup=numbered -- "$f" "` + aside + `"; had="$had $i "; fi; done
back() { i=0; for f; do i=$((i + 1)); case "$had" in *" $i "*) kept="` + aside + `"; cat "$kept" > "$f" ;; esac; done; }
trap '[ $? = 0 ] || back "$@"' EXIT
`
	s := ShellStepOn(class, node, why, paths, script(keep)+text, vars...)
	s.Undo = function + "for f in " + Quoted(paths) + `; do [ ! -e "` + aside + `" ] || mv -fT -- "` + aside + `" "$f"; done`
	return s
}

// Quoted are words as a POSIX shell reads them.
func Quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Quote(w)
	}
	return strings.Join(out, " ")
}

// DropIn sets one setting of a unit, such as [Service] KillMode=process, by a drop-in of its own: the unit's file belongs to its
// package. systemd reads it; what takes effect only at the unit's start still needs a Restart.
func DropIn(node, unit, section, setting, why string) v1alpha1.Step {
	key, _, _ := strings.Cut(setting, "=")
	file := "/etc/systemd/system/" + unit + ".d/90-sickbay-" + strings.ToLower(key) + ".conf"
	s := ShellStep(v1alpha1.Safe, node, why, `[ "$(systemctl show -p "$key" --value "$unit")" != "$value" ] || exit 0
mkdir -p "${file%/*}"
printf '[%s]\n%s=%s\n' "$section" "$key" "$value" > "$file"
systemctl daemon-reload`, V("unit", unit), V("file", file), V("section", section), V("key", key), V("value", setting[len(key)+1:]))
	s.Undo = "rm -f " + Quote(file) + "; systemctl daemon-reload"
	return s
}

// RestoreStep puts a file of the node's image or package back.
func RestoreStep(node, path, why string) v1alpha1.Step {
	return finish(v1alpha1.Step{Class: v1alpha1.Safe, On: node, Why: why, Restore: path})
}

// APIStep changes something through the API server.
func APIStep(class v1alpha1.Class, why string, a v1alpha1.APIAction) v1alpha1.Step {
	return finish(v1alpha1.Step{Class: class, Why: why, API: &a})
}

// EvictPod evicts a pod, for its owner to make it again.
func EvictPod(namespace, name, why string) v1alpha1.Step {
	return APIStep(v1alpha1.Disruptive, why, v1alpha1.APIAction{Verb: v1alpha1.VerbEvict, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: namespace, Name: name}})
}

// RemakePod makes a pod without an owner again, changed by a strategic merge patch; an empty patch makes the same pod again.
func RemakePod(namespace, name, patch, why string) v1alpha1.Step {
	s := APIStep(v1alpha1.Disruptive, why, v1alpha1.APIAction{Verb: v1alpha1.VerbRemake, Patch: patch, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: namespace, Name: name}})
	if patch != "" {
		s = Destructive(s, "changes the owner's pod "+namespace+"/"+name)
	}
	return s
}

// PatchOwner changes an owner's object by a strategic merge patch.
func PatchOwner(o v1alpha1.ObjectRef, apiVersion, subresource, patch, why string) v1alpha1.Step {
	return Destructive(APIStep(v1alpha1.Destructive, why, v1alpha1.APIAction{Verb: v1alpha1.VerbPatch, Object: &o, APIVersion: apiVersion, Subresource: subresource, Patch: patch}),
		"changes the owner's "+strings.ToLower(o.Kind)+" "+o.Namespace+"/"+o.Name)
}

// Destructive marks a step as destructive; risk says what is lost, or whose decision is changed.
func Destructive(s v1alpha1.Step, risk string) v1alpha1.Step {
	s.Class, s.Risk = v1alpha1.Destructive, risk
	return s
}

// Disrupts marks the step as one that disturbs running pods: no new pod shall land on the node meanwhile.
func Disrupts(s v1alpha1.Step) v1alpha1.Step { return raise(s, v1alpha1.Disruptive) }

// Loses marks the step as one that running pods do not survive: the node is drained before it.
func Loses(s v1alpha1.Step) v1alpha1.Step {
	s.LosesPods = true
	return Disrupts(s)
}

func raise(s v1alpha1.Step, to v1alpha1.Class) v1alpha1.Step {
	if s.Class == "" || !s.Class.AtLeast(to) {
		s.Class = to
	}
	return s
}

// WaitReady waits until the node is Ready.
func WaitReady(node string) v1alpha1.Step {
	return APIStep(v1alpha1.Safe, "the kubelet reports the node Ready again", v1alpha1.APIAction{Verb: v1alpha1.VerbWaitReady, Object: nodeRef(node)})
}

// Restart restarts a unit and waits for it.
func Restart(node, unit, why string) v1alpha1.Step {
	return NodeStep(v1alpha1.Safe, node, why, "systemctl", "restart", unit)
}

// NewRemedy makes a plan of the steps. Those on the node that disturb running pods are bracketed: cordon before the first
// (and drain, where pods would be lost), uncordon at the end, unless the node was cordoned before. A plan without steps is nil.
func (p Place) NewRemedy(name string, steps ...v1alpha1.Step) *v1alpha1.Remedy {
	if !p.API {
		steps = slices.DeleteFunc(slices.Clone(steps), func(s v1alpha1.Step) bool { return s.API != nil })
	}
	if len(steps) == 0 {
		return nil
	}
	first, loses := -1, false
	for i, s := range steps {
		if s.API == nil && (s.Class == v1alpha1.Disruptive || s.LosesPods) {
			if first < 0 {
				first = i
			}
			loses = loses || s.LosesPods
		}
	}
	if first < 0 || !p.API {
		return &v1alpha1.Remedy{Name: name, Steps: steps}
	}
	plan := slices.Clone(steps[:first])
	if !p.Cordoned {
		plan = append(plan, APIStep(v1alpha1.Safe, "no new pod lands here while pods are disturbed", v1alpha1.APIAction{Verb: v1alpha1.VerbCordon, Object: nodeRef(p.Node)}))
	}
	if loses {
		plan = append(plan, APIStep(v1alpha1.Disruptive, "the next step takes running pods down: their owners move them first", v1alpha1.APIAction{Verb: v1alpha1.VerbDrain, Object: nodeRef(p.Node)}))
	}
	plan = append(plan, steps[first:]...)
	if !p.Cordoned {
		plan = append(plan, APIStep(v1alpha1.Safe, "the node takes pods again", v1alpha1.APIAction{Verb: v1alpha1.VerbUncordon, Object: nodeRef(p.Node)}))
	}
	return &v1alpha1.Remedy{Name: name, Steps: plan}
}

func nodeRef(name string) *v1alpha1.ObjectRef { return &v1alpha1.ObjectRef{Kind: "Node", Name: name} }

// destroys and disturbs are what a script's words say of its class, whatever its author declared. They raise a class and never
// lower one: a safety net, since a word can stand for more than it names.
var (
	destroys = words(`(rm|unlink|shred|umount|wipefs|mkfs|mkfs\.\w+|fsck|fsck\.\w+|e2fsck|xfs_repair|btrfsck|blkdiscard|dd|truncate|userdel|update-ca-certificates|update-ca-trust)`,
		`find\s.*-delete`, `ip6?tables(-\w+)?\s.*(-D|-F|-X|--delete|--flush)`, `nft\s+(\S+\s+)?(delete|destroy|flush)`,
		`ip\s+(-\S+\s+)*(route|rule|addr|address|link|netns)\s+(del|delete|flush)`, `ipset\s+(del|destroy|flush)`, `trust\s+anchor`,
		`(ctr|crictl|docker|podman|nerdctl)\s.*(rm|rmi|rmp|prune|remove|delete)`, `journalctl\s.*--vacuum-\w+(=\S+)?`, `hostnamectl\s.*set-hostname`,
		`kubectl\s.*(delete|patch|edit|replace)`, `btrfs\s+(check|rescue)`, `(lvremove|vgremove|pvremove|dmsetup\s+remove)`,
		`fsfreeze\s+(-u|--unfreeze)`, `mount\s.*remount\S*`, `systemctl\s+(unmask|set-property)`)
	disturbs = words(`(pkill|killall|reboot|shutdown|poweroff)`, `kill\s+(-(9|KILL|TERM|15|INT|HUP|STOP)\s|[^-])\S*`, `systemctl\s+(\S+\s+)*(kill|isolate)`, `sysctl\s+-w`)
)

// words matches any of the patterns between what ends a word of a shell, a path before the program's name included.
func words(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)(^|[\s;&|(){}'"/` + "`" + `])(` + strings.Join(patterns, "|") + `)($|[\s;&|(){}'"` + "`" + `])`)
}

// classOf is what the words of a command say of its class, and the words. Most commands are scripts of many lines that are made again at
// every look.
func classOf(argv []string) (v1alpha1.Class, string) {
	said := classOfText(strings.Join(argv, " "))
	return said.class, said.word
}

type saidClass struct {
	class v1alpha1.Class
	word  string
}

var classOfText = memo.Of(func(text string) saidClass {
	if m := destroys.FindStringSubmatch(text); m != nil {
		return saidClass{v1alpha1.Destructive, m[2]}
	}
	if m := disturbs.FindStringSubmatch(text); m != nil {
		return saidClass{v1alpha1.Disruptive, m[2]}
	}
	return saidClass{v1alpha1.Safe, ""}
})

// finish raises the class to what the words say, and derives Run, the command an operator would type.
func finish(s v1alpha1.Step) v1alpha1.Step {
	if s.Class == "" {
		panic("detectors: a step without a class: " + s.Why)
	}
	if class, word := classOf(s.Exec); !s.Class.AtLeast(class) {
		s.Class = class
		if class == v1alpha1.Destructive {
			if w := strings.Fields(word); len(w) > 2 {
				word = w[0] + " … " + w[len(w)-1]
			}
			s.Risk = "what `" + word + "` takes away cannot be had back"
		}
	}
	switch {
	case s.API != nil:
		s.Run = kubectl(s.API)
	case s.Restore != "":
		s.Run = fmt.Sprintf("docker cp \"$(docker create \"$(docker inspect -f '{{.Config.Image}}' %s)\")\":%s - | docker cp - %s:%s",
			Quote(s.On), Quote(s.Restore), Quote(s.On), Quote(s.Restore[:strings.LastIndex(s.Restore, "/")+1]))
	default:
		s.Run = Quoted(s.Exec)
	}
	return s
}

func kubectl(a *v1alpha1.APIAction) string {
	var name, kind, in string
	if a.Object != nil {
		name, kind = Quote(a.Object.Name), strings.ToLower(a.Object.Kind)
		if a.Object.Namespace != "" {
			in = " -n " + Quote(a.Object.Namespace)
		}
	}
	switch a.Verb {
	case v1alpha1.VerbCordon, v1alpha1.VerbUncordon:
		return "kubectl " + a.Verb + " " + name
	case v1alpha1.VerbDrain:
		return "kubectl drain " + name + " --ignore-daemonsets --delete-emptydir-data --timeout=60s"
	case v1alpha1.VerbWaitReady:
		return "kubectl wait --for=condition=Ready node/" + name + " --timeout=120s"
	case v1alpha1.VerbEvict:
		path := "/api/v1/namespaces/" + a.Object.Namespace + "/pods/" + a.Object.Name + "/eviction"
		return "kubectl create --raw " + path + " -f - <<< " + Quote(fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"namespace":%q,"name":%q}}`, a.Object.Namespace, a.Object.Name))
	case v1alpha1.VerbRemake:
		change := ""
		if a.Patch != "" {
			change = "kubectl patch --local -f - --type=strategic -p " + Quote(a.Patch) + " -o yaml | "
		}
		return "kubectl get" + in + " pod " + name + " -o yaml | " + change + "kubectl replace --force -f -"
	case v1alpha1.VerbPatch:
		sub := ""
		if a.Subresource != "" {
			sub = " --subresource " + a.Subresource
		}
		return "kubectl patch" + in + " " + kind + " " + name + sub + " --type=strategic -p " + Quote(a.Patch)
	case v1alpha1.VerbRenewClientCert:
		return "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=system:nodes/CN=system:node:" + name +
			" …; kubectl create -f csr.yaml; kubectl certificate approve …; kubectl get csr … -o jsonpath={.status.certificate}"
	}
	return "kubectl " + a.Verb + in + " " + kind + " " + name
}

// Quote quotes a word for a POSIX shell where it needs it.
func Quote(w string) string { return shellescape.Quote(w) }
