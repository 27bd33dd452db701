//go:build linux && !amd64

package collect

var legacyCalls = map[int64]where{}
