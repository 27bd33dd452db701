package testbed

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/platform/registry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// exportBound bounds reading an image from a node: the workload's has some 20 MB.
const exportBound = 30 * time.Second

// StartRegistry runs a registry on the network of the cluster's nodes. What it holds is the workload image, which is on
// every node, under other names.
func (l *kindTestbed) StartRegistry(ctx context.Context, run, victim string, r v1alpha1.Registry) (*scenarios.RegistryValues, error) {
	if err := l.c.Engine().Socket(); err != nil {
		return nil, err
	}
	image, err := nodeimage.ResolveRegistry(ctx, l.c.Engine(), l.c.Image, func(ctx context.Context) ([]byte, error) {
		archive, err := l.export(ctx, victim, nodeimage.RegistryImage)
		if err != nil {
			return nil, err
		}
		return registry.DockerArchive(archive, nodeimage.RegistryImage)
	})
	if err != nil {
		return nil, err
	}
	base, err := l.export(ctx, victim, l.image)
	if err != nil {
		return nil, fmt.Errorf("fill a registry: %w", err)
	}
	got, err := registry.Start(ctx, registry.Place{
		Run: run, Network: l.c.Network(), Image: image, Base: base,
		Labels: map[string]string{cluster.Label: l.c.Name, cluster.RunLabel: run, cluster.NodeLabel: victim},
	}, registry.Spec{Images: r.Images, Private: r.Private, Certificate: registry.Certificate(r.Certificate)})
	if err != nil {
		return nil, err
	}
	return &scenarios.RegistryValues{Host: got.Host, CA: got.CA, OldCA: got.OldCA, PullSecret: base64.StdEncoding.EncodeToString(got.PullSecret)}, nil
}

// RemoveServices removes what runs beside the cluster for a run.
func (l *kindTestbed) RemoveServices(ctx context.Context, run string) error {
	return l.c.RemoveServices(ctx, run, "")
}

// export reads an image that is on a node.
func (l *kindTestbed) export(ctx context.Context, name, ref string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(exportBound))
	defer cancel()
	return l.c.ExportImages(ctx, name, ref)
}
