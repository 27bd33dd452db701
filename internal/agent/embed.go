//go:build embedagent

package agent

import "embed"

// embedded holds the agent of each architecture. `make build` writes the files first and sets the tag; without it, in `go test` and
// `go run`, SICKBAY_AGENT names one.
//
//go:embed embedded/*.zst
var embedded embed.FS
