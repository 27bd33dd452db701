package sandboxcreate

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// lastSaid are the programs that a runtime said it did not find, in the words of a sandbox's failure.
var lastSaid = []struct {
	says                *regexp.Regexp
	cause, remedy, what string
}{
	{regexp.MustCompile(words.BinaryNotInstalled + ` "(containerd-shim-[\w.-]+)"|fork/exec (/[^\s:"]*/containerd-shim-[\w.-]+): ` + words.NoSuchFileOrDirectory), "shim-missing", "restore-shim", "the shim"},
	{regexp.MustCompile(words.UnableToRetrieveOCIRuntimeError + `.*(?:exec: "([\w.-]+)": ` + words.ExecutableFileNotFound + `|fork/exec (/[^\s:"]+): ` + words.NoSuchFileOrDirectory + `)`), "oci-runtime-missing", "restore-runtime", "the OCI runtime"},
}

// unlisted: the runtime says that it did not find an OCI runtime that none of its handlers is known to run, as Docker's are not.
func unlisted(o *v1alpha1.Observation, failing []facts.CreateFailure) []v1alpha1.Finding {
	for _, c := range failing {
		m := lastSaid[1].says.FindStringSubmatch(strings.ReplaceAll(c.Message, `\`, ""))
		if m == nil || started(c) || len(o.Runtime.Handlers) == 0 {
			continue
		}
		name := path.Base(cmp.Or(m[1], m[2]))
		if f, ok := file(o, known(o, name, name)); ok && executable(f) || slices.ContainsFunc(o.Runtime.Handlers, func(r v1alpha1.RuntimeHandler) bool {
			return path.Base(cmp.Or(r.BinaryName, r.RuntimePath, "runc")) == name
		}) {
			continue
		}
		return []v1alpha1.Finding{{Cause: "oci-runtime-missing", Certainty: v1alpha1.Likely, Evidence: []v1alpha1.Evidence{c.Evidence},
			Summary:      "the OCI runtime " + name + " is not there, as " + facts.Runtime(o).Name + " says: no container can be made with it",
			ToConfirm:    "`command -v " + detectors.Quote(name) + "` on the node, with the PATH of the runtime's unit",
			ManualAction: "install " + name + " with the package that it came with, or take it out of the runtime's configuration (Docker: default-runtime and runtimes in /etc/docker/daemon.json) and restart the runtime"}}
	}
	return nil
}

// remembered is for how long what a runtime said counts that somebody stopped since.
const remembered = 10 * time.Minute

// before is what a containerd that tells no handlers, since it does not run, said before of its programs: they are not there either when it
// starts again. What lies where they usually do is back.
func before(o *v1alpha1.Observation) []v1alpha1.Finding {
	if _, unread := o.Unreadable(v1alpha1.SourceFiles); unread || !o.Looked(v1alpha1.SourceFiles) || facts.Runtime(o).Name == facts.CRIO {
		return nil
	}
	said := facts.Lines(v1alpha1.History{*o}, "", remembered)
	for _, e := range facts.Events(o, "Pod", "", "", remembered, "FailedCreatePodSandBox", "FailedCreatePodSandbox", "Failed") {
		said = append(said, v1alpha1.LogLine{Source: "api.events", At: facts.EventTime(&e), Text: e.Message})
	}
	said = slices.DeleteFunc(said, func(l v1alpha1.LogLine) bool {
		return !facts.Has(l.Text, words.BinaryNotInstalled, words.ExecutableFileNotFound, words.NoSuchFileOrDirectory)
	})
	var out []v1alpha1.Finding
	for _, k := range lastSaid {
		var last v1alpha1.LogLine
		var named []string
		for _, l := range said {
			if m := k.says.FindStringSubmatch(strings.ReplaceAll(l.Text, `\`, "")); m != nil && !l.At.Before(last.At) {
				last, named = l, m
			}
		}
		if named == nil {
			continue
		}
		p := named[2]
		if p == "" {
			p = known(o, named[1], map[string]string{"the shim": "/usr/local/bin/", "the OCI runtime": "/usr/local/sbin/"}[k.what]+named[1])
		}
		if f, ok := file(o, known(o, path.Base(p), p)); ok && executable(f) {
			continue // it is back
		}
		usual := path.Base(p) == "containerd-shim-runc-v2" || path.Base(p) == "runc"
		if started := facts.Events(o, "Pod", "", "", remembered, "Started"); usual && len(started) > 0 && facts.EventTime(&started[0]).After(last.At) {
			continue // a container was started since
		}
		fd := v1alpha1.Finding{Cause: k.cause, Certainty: v1alpha1.Likely,
			Summary:   k.what + " " + path.Base(p) + " was missing when the runtime ran last: it makes no sandbox when it runs again",
			ToConfirm: "whether it is there since: `ls -l -- " + detectors.Quote(p) + "` on the node",
			Evidence:  []v1alpha1.Evidence{facts.FromLine(last), facts.Seen(o, v1alpha1.SourceFiles, state(o, "", p))}}
		repair(o, &fd, "that names it", p, usual, k.remedy, k.what)
		out = append(out, fd)
	}
	return out
}
