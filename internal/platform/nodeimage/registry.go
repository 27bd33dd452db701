package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// UpstreamRegistryImage is the registry everybody else runs.
const UpstreamRegistryImage = "registry:3"

// ResolveRegistry finds an image of the registry for a cluster of this node image, in the order of Resolve: one the engine
// holds; the public one, pulled; one built here. A node image that was built here holds one, and inside answers with that as
// `docker load` reads it: it comes first, then building, for no registry answered for the node image either.
func ResolveRegistry(ctx context.Context, engine Engine, nodeImage string, inside func(context.Context) ([]byte, error)) (string, error) {
	for _, ref := range []string{RegistryImage, UpstreamRegistryImage} {
		if _, ok, err := inspect(ctx, engine, ref); err != nil || ok {
			return ref, err
		}
	}
	var errs []error
	for _, way := range registryWays(nodeImage, inside) {
		ref, err := way(ctx, engine)
		if err == nil {
			return ref, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("no image of a registry: %w", errors.Join(errs...))
}

type registryWay func(ctx context.Context, engine Engine) (string, error)

func registryWays(nodeImage string, inside func(context.Context) ([]byte, error)) []registryWay {
	pulled := func(ctx context.Context, engine Engine) (string, error) {
		return UpstreamRegistryImage, pull(ctx, engine, UpstreamRegistryImage, false)
	}
	version, ours := builtVersion(nodeImage)
	built := func(ctx context.Context, engine Engine) (string, error) {
		return RegistryImage, LoadComponent(ctx, engine, Spec{Version: version, Runtime: RuntimeOf(nodeImage)}, RegistryImage)
	}
	carried := func(ctx context.Context, engine Engine) (string, error) {
		archive, err := inside(ctx)
		if err != nil {
			return "", err
		}
		return RegistryImage, loadArchive(ctx, engine, func(w io.Writer) error { _, err := w.Write(archive); return err })
	}
	if ours {
		return []registryWay{carried, built, pulled}
	}
	return []registryWay{pulled, built}
}

// builtVersion is the Kubernetes version in the name of an image built here: its parts are in the cache.
func builtVersion(nodeImage string) (version string, ours bool) {
	tag, ours := strings.CutPrefix(nodeImage, repository(RuntimeOf(nodeImage))+":")
	if !ours {
		return "", false
	}
	version, _, _ = strings.Cut(tag, "-")
	return version, true
}
