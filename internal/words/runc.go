package words

// The words of runc, read in version v1.5.2.
var (
	CgroupNotApplied = runc.says("unable to apply cgroup configuration", Entry{File: "libcontainer/process_linux.go",
		Sample: "unable to apply cgroup configuration"})
)

var runc = &Component{Name: "runc", Version: "v1.5.2"}
