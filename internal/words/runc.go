package words

// The words of runc, read in version v1.5.2.
var (
	CgroupNotApplied = runc.says("unable to apply cgroup configuration", Entry{File: "libcontainer/process_linux.go",
		Sample: "unable to apply cgroup configuration"})
	CreateSessionKey = runc.says("create session key", Entry{File: "libcontainer/keys/keyctl.go",
		Sample: "error during container init: unable to join session keyring: unable to create session key: disk quota exceeded"})
	InitOOMKilled = runc.says("container init was OOM-killed", Entry{File: "libcontainer/process_linux.go",
		Sample: "runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?)"})
	AppArmorNotApplied = runc.says("apparmor failed to apply profile", Entry{File: "libcontainer/apparmor/apparmor_linux.go",
		Sample: "unable to apply apparmor profile: apparmor failed to apply profile: write /proc/thread-self/attr/apparmor/exec: no such file or directory"})
	InitSeccomp = runc.says("unable to init seccomp", Entry{File: "libcontainer/standard_init_linux.go",
		Sample: "error during container init: unable to init seccomp: error adding seccomp filter rule for syscall bdflush: requested action matches default action of filter"})
	StartContainerProcess = runc.says("unable to start container process", Entry{Since: "1.1", File: "libcontainer/container_linux.go",
		Sample: `OCI runtime create failed: runc create failed: unable to start container process: exec: "serve": executable file not found in $PATH: unknown`})
)

var runc = &Component{Name: "runc", Version: "v1.5.2"}
