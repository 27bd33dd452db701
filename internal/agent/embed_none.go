//go:build !embedagent

package agent

import "embed"

var embedded embed.FS
