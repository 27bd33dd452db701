package words

// The words of containernetworking/cni, read in version v1.3.1.
var (
	FailedToFindPlugin = cni.says("failed to find plugin", Entry{File: "pkg/invoke/find.go",
		Sample: `9f2f1ab5344cc89cca86a970c250c09a2a6710cdfae5165005d4a4b": plugin type="ptp" failed (add): failed to find plugin "ptp" in path [/opt/cni/bin]`})
)

var cni = &Component{Name: "cni", Version: "v1.3.1"}
