package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Every program that imports this package is the runtime when it is started as sickbay-oci: the engine can then use a copy of
// the running program where the small one was not shipped beside it. The check is a comparison of strings; it runs before the
// initialisation of the larger libraries, because packages initialise in the order of their import paths.
func init() {
	if len(os.Args) > 0 && filepath.Base(os.Args[0]) == Name {
		os.Exit(Main(os.Args[1:]))
	}
}

// Main becomes runc, or with the argument "probe" prints a Report. It returns only when it could not become runc.
func Main(args []string) int {
	if len(args) == 1 && args[0] == "probe" {
		return probe()
	}
	status, err := os.ReadFile("/proc/self/status")
	var have Set
	if err == nil {
		have, err = ParseStatus(string(status), "CapBnd")
	}
	if err == nil && len(have.Missing()) > 0 {
		_, err = Rewrite(args, have)
	}
	if err != nil {
		// runc goes on with the request as it is and gives the authoritative error, if there is one.
		warn(args, fmt.Sprintf("%s: cannot adapt the request to the missing capabilities: %v", Name, err))
	}
	runc, err := findRunc()
	if err == nil {
		err = syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: cannot start runc: %v\n", Name, err)
	return 1
}

// findRunc also looks where distributions put it, since an engine may have been started with a short PATH.
func findRunc() (string, error) {
	path, err := exec.LookPath("runc")
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if path := filepath.Join(dir, "runc"); syscall.Access(path, 1) == nil {
			return path, nil
		}
	}
	return "", err
}

// warn writes into runc's own log, which the shim reads. Standard error would end up in the container's output.
func warn(args []string, message string) {
	path, ok := flagValue(args, "log")
	if !ok {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	line, _ := json.Marshal(map[string]string{"level": "warning", "msg": message, "time": time.Now().UTC().Format(time.RFC3339)})
	_, _ = f.Write(append(line, '\n'))
}
