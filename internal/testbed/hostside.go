package testbed

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/suites"
)

// host takes the host's fingerprint, with the owners of its loop devices.
func (l *kindTestbed) host(ctx context.Context) (*fingerprint.Fingerprint, error) {
	f := fingerprint.Host(ctx)
	if len(f.Areas[fingerprint.Loops]) == 0 {
		return f, nil
	}
	vars, err := l.vars(ctx)
	if err != nil {
		return nil, err
	}
	for loop, image := range f.Areas[fingerprint.Loops] {
		if nodes := nodesOf(loop, image, vars); len(nodes) > 0 {
			f.Set(fingerprint.Loops, loop, image+suites.Owned(suites.OfNode, nodes...))
		}
	}
	return f, nil
}

// nodesOf names the nodes in whose /var an image lies; more than one only where the device cannot be asked for its inode.
func nodesOf(loop, image string, vars map[string]string) []string {
	below, ok := strings.CutPrefix(image, "/var/")
	if !ok {
		return nil
	}
	dev, ino, known := fingerprint.LoopImage(loop)
	var out []string
	for node, dir := range vars {
		d, i, there := fingerprint.FileID(dir + "/" + below)
		if there && (!known || d == dev && i == ino) {
			out = append(out, node)
		}
	}
	slices.Sort(out)
	return out
}

// vars tells where the /var of every kind node, of whatever cluster, lies on this machine.
func (l *kindTestbed) vars(ctx context.Context) (map[string]string, error) {
	out, err := l.inspect(ctx, `{{.Name}}{{"\t"}}{{range .Mounts}}{{if eq .Destination "/var"}}{{.Source}}{{end}}{{end}}`, "--filter", "label="+kindLabel)
	if err != nil {
		return nil, fmt.Errorf("ask where the nodes' /var lies: %w", err)
	}
	return parseVars(out), nil
}

// inspect writes one line about each container that ps lists. Of containers, docker and podman know the same words here, but not in ps.
func (l *kindTestbed) inspect(ctx context.Context, format string, filter ...string) (string, error) {
	ids, err := l.c.Engine().Command(ctx, append([]string{"ps", "--all", "--quiet", "--no-trunc"}, filter...)...).Output()
	if err != nil || len(ids) == 0 {
		return "", err
	}
	// One that was removed meanwhile makes the command fail, after it has told of the others.
	out, err := l.c.Engine().Command(ctx, append([]string{"container", "inspect", "--format", format}, strings.Fields(string(ids))...)...).Output()
	if err != nil && len(out) > 0 {
		err = nil
	}
	return string(out), err
}

func parseVars(list string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(list) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && strings.HasPrefix(dir, "/") {
			out[strings.TrimPrefix(name, "/")] = dir
		}
	}
	return out
}

const kindLabel = "io.x-k8s.kind.cluster"

// holder is whose a container or a volume is.
type holder struct {
	owner string // as a fingerprint shows it, of what serves a run or a node
	other bool   // neither this cluster's nor any run's or node's of sickbay's
}

// holders tells whose each container is, and each volume of one. The list is as eachContainer reads it, its labels a kind cluster's
// name, a run and a node, with strokes between them.
func holders(list, own string) map[string]holder {
	out := map[string]holder{}
	eachContainer(list, func(name, labels string, volumes []string) {
		w := strings.Split(labels, "/")
		var h holder
		switch {
		case len(w) != 3:
			return
		case w[1] != "":
			h.owner = suites.Owned(suites.OfRun, w[1])
		case w[2] != "":
			h.owner = suites.Owned(suites.OfNode, w[2])
		default:
			h.other = w[0] != own
		}
		for _, k := range append(volumes, name) {
			out[k] = h
		}
	})
	return out
}

// eachContainer reads lines of name, label and mounts, tabs between them. A bind mount is a path and no volume.
func eachContainer(list string, f func(name, label string, volumes []string)) {
	for line := range strings.Lines(list) {
		w := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(w) != 3 {
			continue
		}
		volumes := slices.DeleteFunc(strings.Split(w[2], ","), func(m string) bool { return m == "" || strings.HasPrefix(m, "/") })
		f(strings.TrimPrefix(w[0], "/"), w[1], volumes)
	}
}
