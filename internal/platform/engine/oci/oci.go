// Package oci is an OCI runtime that hands everything to runc, after taking out of the request what this machine cannot grant.
//
// On a machine whose bounding set lacks a capability (CAP_SYS_RESOURCE in many sandboxes and build machines) runc fails every
// privileged container with "unable to apply caps: operation not permitted", because the engine asks for all of them.
// The wrapper removes such capabilities from the container's specification and then becomes runc.
//
// It knows the OCI runtime specification and runc's command line, nothing of engines, clusters or scenarios, and imports the
// standard library only: it starts once per container and twice per `docker exec`.
package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
)

// Name is the name of the program, and of any program that imports this package when it is started under that name.
const Name = "sickbay-oci"

// capabilitySets are the five lists of `process.capabilities` in the runtime specification.
var capabilitySets = []string{"bounding", "effective", "inheritable", "permitted", "ambient"}

// Rewrite takes every capability that is not in have out of the file that a runc command line refers to, if it refers to one.
// It returns the names taken out; the file is not touched when there is none.
func Rewrite(args []string, have Set) ([]string, error) {
	req, ok := parse(args)
	if !ok {
		return nil, nil
	}
	info, err := os.Stat(req.file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		// A pipe or a terminal could be read only once, and runc must be the one to read it.
		return nil, fmt.Errorf("%s is not a regular file", req.file)
	}
	data, err := os.ReadFile(req.file)
	if err != nil {
		return nil, err
	}
	out, gone, err := strip(data, req.isProcess, have)
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	return gone, atomicfile.Write(req.file, out, info.Mode().Perm())
}

// request is the part of a runc command line that matters here.
type request struct {
	file      string // config.json of a bundle, or the process of an exec
	isProcess bool   // file holds a process, not a whole configuration
}

// parse finds the file in a command line (without argv[0]). ok is false for commands that bring no capabilities along.
func parse(args []string) (req request, ok bool) {
	command, rest := subcommand(args)
	switch command {
	case "create", "run", "restore":
		bundle, _ := flagValue(rest, "bundle", "b")
		return request{file: filepath.Join(bundle, "config.json")}, true
	case "exec":
		file, found := flagValue(rest, "process", "p")
		return request{file: file, isProcess: true}, found
	}
	return request{}, false
}

// runcSwitches are runc's flags that take no value; every other one takes the next argument unless it has a "=".
var runcSwitches = []string{
	"debug", "systemd-cgroup", "help", "h", "version", "v", // global
	"no-pivot", "no-new-keyring", "detach", "d", "keep", "no-subreaper", // create, run, restore
	"tty", "t", "no-new-privs", "ignore-paused", // exec
	"tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages",
}

func subcommand(args []string) (string, []string) {
	n := flags(args, nil)
	if n == len(args) {
		return "", nil
	}
	return args[n], args[n+1:]
}

// flagValue returns the last value given for one of the names in front of the first argument that is not a flag: what stands
// behind belongs to the container.
func flagValue(args []string, names ...string) (value string, found bool) {
	flags(args, func(name, v string) {
		if slices.Contains(names, name) {
			value, found = v, true
		}
	})
	return value, found
}

// flags visits the flags at the beginning of args and returns how many arguments they take.
func flags(args []string, visit func(name, value string)) int {
	i := 0
	for ; i < len(args) && strings.HasPrefix(args[i], "-") && args[i] != "-"; i++ {
		if args[i] == "--" {
			return i + 1
		}
		name, value, inline := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !inline && !slices.Contains(runcSwitches, name) {
			if i++; i == len(args) {
				return i
			}
			value = args[i]
		}
		if visit != nil {
			visit(name, value)
		}
	}
	return min(i, len(args))
}

// object is a JSON object whose values stay byte for byte what they were, so that nothing this package does not know is lost.
type object map[string]json.RawMessage

func strip(data []byte, isProcess bool, have Set) (out []byte, gone []string, err error) {
	var top object
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, nil, err
	}
	process := top
	if !isProcess {
		process = nil
		if err := unmarshal(top["process"], &process); err != nil {
			return nil, nil, fmt.Errorf("process: %w", err)
		}
	}
	var caps object
	if err := unmarshal(process["capabilities"], &caps); err != nil {
		return nil, nil, fmt.Errorf("process.capabilities: %w", err)
	}
	for _, set := range capabilitySets {
		var names []string
		if err := unmarshal(caps[set], &names); err != nil {
			return nil, nil, fmt.Errorf("process.capabilities.%s: %w", set, err)
		}
		kept := make([]string, 0, len(names))
		for _, name := range names {
			if have.Has(name) {
				kept = append(kept, name)
			} else if !slices.Contains(gone, name) {
				gone = append(gone, name)
			}
		}
		if len(kept) < len(names) {
			if caps[set], err = marshal(kept); err != nil {
				return nil, nil, err
			}
		}
	}
	if len(gone) == 0 {
		return nil, nil, nil
	}
	if process["capabilities"], err = marshal(caps); err != nil {
		return nil, nil, err
	}
	if !isProcess {
		if top["process"], err = marshal(process); err != nil {
			return nil, nil, err
		}
	}
	out, err = marshal(top)
	return out, gone, err
}

func unmarshal(data json.RawMessage, into any) error {
	if data == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
