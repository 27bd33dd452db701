// Command runc stands in front of runc on a node with CRI-O. Where the host withholds CAP_SYS_RESOURCE, no container may have it and no
// process may lower its OOM score: both are taken out of the request, as containerd does with restrict_oom_score_adj. Elsewhere runc
// gets what it is given.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const runc = "/usr/local/libexec/runc"

// names are the kernel's capabilities in the order of their numbers.
var names = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
	CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE
	CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME
	CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG
	CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE`)

func main() {
	if err := adapt(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "the request cannot be adapted to the missing capabilities: %v\n", err) // runc gives the authoritative error
	}
	err := syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ())
	fmt.Fprintf(os.Stderr, "cannot start %s: %v\n", runc, err)
	os.Exit(1)
}

// adapt changes the file that the command line refers to: the configuration of a bundle, or the process of an exec.
func adapt(args []string) error {
	bounding, err := bounding()
	if err != nil || bounding>>slices.Index(names, "CAP_SYS_RESOURCE")&1 == 1 {
		return err
	}
	file := request(args)
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // what is not changed stays as it was
	var top map[string]any
	if err := d.Decode(&top); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	process := top
	if p, ok := top["process"].(map[string]any); ok {
		process = p
	}
	restrict(process, bounding, ownScore())
	if data, err = json.Marshal(top); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// restrict takes out of a process what this one cannot grant.
func restrict(process map[string]any, bounding uint64, score int64) {
	sets, _ := process["capabilities"].(map[string]any)
	for set, v := range sets {
		list, _ := v.([]any)
		sets[set] = slices.DeleteFunc(list, func(c any) bool {
			n := slices.Index(names, fmt.Sprint(c))
			return n >= 0 && bounding>>n&1 == 0
		})
	}
	if n, ok := process["oomScoreAdj"].(json.Number); ok {
		if asked, err := n.Int64(); err == nil && asked < score {
			process["oomScoreAdj"] = score
		}
	}
}

// request is the file in a command line; empty where there is none.
func request(args []string) string {
	for i, a := range args {
		flag, value, inline := strings.Cut(a, "=")
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		switch flag {
		case "--bundle", "-b":
			return filepath.Join(value, "config.json")
		case "--process", "-p":
			return value
		}
	}
	return ""
}

func bounding() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\nCapBnd:")
	value, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
}

func ownScore() int64 {
	b, _ := os.ReadFile("/proc/self/oom_score_adj")
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}
