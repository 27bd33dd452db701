//go:build embedagent

package nodeimage

import _ "embed"

// packed are go.mod, go.sum and images/ of the source tree. `make build` writes the file first and sets the tag; without it, in `go test`
// and `go run`, the source tree itself is used.
//
//go:embed embedded/images.tar.zst
var packed []byte
