package detectors

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

var (
	// objectName is what the API server lets objects, namespaces and subresources be called.
	objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$`)
	// nodeName is that or an address, as a node may be asked for.
	nodeName = regexp.MustCompile(`^[A-Za-z0-9\[]([A-Za-z0-9._:\]-]*)$`)
	unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$`)
)

// hostName is a host as a server may be asked by it, with its port or without.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]+)?$`)

// IsHost tells that a text is a host, with its port or without.
func IsHost(s string) bool { return hostName.MatchString(s) }

// options are those that steps without a script give a program: any other one was a word that was observed.
var options = strings.Fields("-- -T --backup=numbered --unfreeze --vacuum-size=64M -R -delete -empty -maxdepth -name -type -xdev -i -o -p -w -sfn -n -I -6 --runtime-endpoint " +
	"-t -D -s -d -i -m -j -g -f --comment --dport --sport --dports --sports --ports --state --ctstate --reject-with --icmp-type --icmpv6-type --tcp-flags --syn --dst-type --src-type " +
	"--match-set --physdev-out --physdev-in --limit --limit-burst --mark --uid-owner --gid-owner --src-range --dst-range --protocol")

// withheld takes the remedy from a finding where a step would name what nothing on a node or in a cluster is called. Quoted as it is it
// would do no harm, but who chose such a name hopes for something.
func withheld(f v1alpha1.Finding) v1alpha1.Finding {
	if f.Remedy == nil {
		return f
	}
	for _, s := range f.Remedy.Steps {
		if word := oddWord(s); word != "" {
			why := fmt.Sprintf("remedy %s is withheld, since it would name %s, which is no plain name: look there yourself first", f.Remedy.Name, strconv.QuoteToASCII(word))
			f.Remedy, f.ManualAction = nil, strings.TrimPrefix(f.ManualAction+"; "+why, "; ")
			return f
		}
	}
	return f
}

// oddWord is the first word of a step that no such thing is called, empty where there is none.
func oddWord(s v1alpha1.Step) string {
	if s.On != "" && !nodeName.MatchString(s.On) {
		return s.On
	}
	if a := s.API; a != nil && a.Object != nil {
		for _, n := range []string{a.Object.Name, a.Object.Namespace} {
			if n != "" && !objectName.MatchString(n) {
				return n
			}
		}
	}
	argv, script := s.Exec, len(s.Exec) > 2 && s.Exec[0] == "sh"
	if script {
		argv = argv[min(4, len(argv)):] // what comes before is program text and its name
	}
	if len(argv) > 2 && argv[0] == "systemctl" && !unitName.MatchString(argv[2]) {
		return argv[2]
	}
	if s.Restore != "" {
		argv = append(slices.Clone(argv), s.Restore)
	}
	for i, w := range argv {
		if odd(w) || oddOption(argv, i, script) {
			return w
		}
	}
	return ""
}

// odd tells a word that shows otherwise than it is, or a path that leads elsewhere.
func odd(w string) bool {
	return !utf8.ValidString(w) || strings.ContainsFunc(w, text.Hidden) || strings.Contains(w, "\n") ||
		strings.HasPrefix(w, "/") && slices.Contains(strings.Split(w, "/"), "..")
}

// oddOption tells a word that a program would take for an option, and that no step gives it. A script's words are no options.
func oddOption(argv []string, i int, script bool) bool {
	w := argv[i]
	if !strings.HasPrefix(w, "-") {
		return false
	}
	if script {
		return w != "--runtime-endpoint"
	}
	return i > 0 && !slices.Contains(options, w) && !slices.Contains(argv[:i], "--") && argv[i-1] != "--comment"
}
