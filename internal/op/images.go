package op

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Images changes nothing when done. Undone, it removes from the runtime what was pulled since from one registry, which is gone
// then: nothing else would ever take these images away.
type Images struct {
	asks[interface {
		Files
		Commands
		Timer
	}]
	// Registry is the host in the images' names.
	Registry string `json:"registry"`
	// Had are the names that were there before.
	Had []string `json:"had,omitempty"`
}

func (i *Images) Describe() string { return "keep what is pulled from " + i.Registry + " for removal" }

func (i *Images) Save(ctx context.Context, env Env) error {
	var err error
	i.Had, err = i.pulled(ctx)
	return err
}

func (*Images) Do(context.Context, Env) error { return nil }

// pulled lists the names under which the runtime has images of the registry: that of the pull, and those the runtime gave them
// besides, by their digests.
func (i *Images) pulled(ctx context.Context) ([]string, error) {
	if CRIOf(i.sys) == CRIO {
		return i.pulledCRIO(ctx)
	}
	out, err := i.sys.Run(ctx, "ctr", "-n", "k8s.io", "images", "ls")
	if err != nil {
		return nil, err
	}
	var rows [][]string
	var digests []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // REF TYPE DIGEST …
		if len(f) < 3 || !strings.HasPrefix(f[2], "sha256:") {
			continue
		}
		rows = append(rows, f)
		if strings.HasPrefix(f[0], i.Registry+"/") {
			digests = append(digests, f[2])
		}
	}
	var names []string
	for _, f := range rows {
		if slices.Contains(digests, f[2]) && !slices.Contains(i.Had, f[0]) {
			names = append(names, f[0])
		}
	}
	return names, nil
}

// pulledCRIO has the names of the pulls alone: CRI-O's storage has no others.
func (i *Images) pulledCRIO(ctx context.Context) ([]string, error) {
	out, err := i.sys.Run(ctx, "crictl", "images", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Images []struct{ RepoTags, RepoDigests []string }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("reading what crictl says of images: %w", err)
	}
	var names []string
	for _, image := range list.Images {
		refs := image.RepoTags // an image goes with its last tag
		if len(refs) == 0 {
			refs = image.RepoDigests
		}
		for _, n := range refs {
			if strings.HasPrefix(n, i.Registry+"/") && !slices.Contains(i.Had, n) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

func (i *Images) Pending(ctx context.Context, env Env) (Rest, error) {
	names, err := i.pulled(ctx)
	if err != nil || len(names) == 0 {
		return Rest{}, err
	}
	return Rest{Tidy: "remove " + strings.Join(names, ", ")}, nil
}

func (i *Images) Undo(ctx context.Context, env Env) error {
	names, err := i.pulled(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	remove := []string{"ctr", "-n", "k8s.io", "images", "rm", "--sync"}
	if CRIOf(i.sys) == CRIO {
		remove = []string{"crictl", "rmi"}
	}
	_, removed := i.sys.Run(ctx, append(remove, names...)...)
	if inUse(removed) {
		if _, err := await(ctx, i.sys, imagePoll, timeoutscale.Bound(imageGrace), func() (bool, error) {
			if names, removed = i.pulled(ctx); removed == nil && len(names) > 0 {
				_, removed = i.sys.Run(ctx, append(remove, names...)...)
			}
			return !inUse(removed), nil
		}); err != nil {
			return err
		}
	}
	if removed != nil {
		return fmt.Errorf("removing what was pulled from %s: %w", i.Registry, removed)
	}
	return nil
}

// imageGrace is for pods that are being deleted while their images are removed.
const (
	imageGrace = 45 * time.Second
	imagePoll  = time.Second
)

// inUse tells CRI-O's refusal while a container of the image is there, dead or alive. containerd removes the name at once.
// CRI-O server/image_remove.go, containers/storage errors.go
func inUse(err error) bool {
	return err != nil && strings.Contains(err.Error(), "image is in use by a container")
}
