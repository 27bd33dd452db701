package fingerprint

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Engine takes the fingerprint of the container engine: containers, volumes and networks. command builds a call of its CLI.
func Engine(ctx context.Context, command func(ctx context.Context, args ...string) *exec.Cmd) *Fingerprint {
	f := New("host", time.Now())
	list := func(area string, args ...string) {
		out, err := command(ctx, args...).Output()
		if err != nil {
			f.Fail(area, fmt.Errorf("%s: %w", strings.Join(args, " "), err))
			return
		}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if k, v, _ := strings.Cut(line, "\t"); k != "" {
				f.Set(area, k, v)
			}
		}
	}
	list(Containers, "ps", "--all", "--format", "{{.Names}}\t{{.Image}}")
	list(Volumes, "volume", "ls", "--format", "{{.Name}}\t{{.Driver}}")
	list(Networks, "network", "ls", "--format", "{{.Name}}\t{{.Driver}}")
	return f
}
