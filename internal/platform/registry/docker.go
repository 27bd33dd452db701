package registry

import (
	"bytes"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// DockerArchive is the image of an archive that a node exported, by this name, as every `docker load` reads it: those before 23 know
// neither an OCI layout nor layers packed with zstd.
func DockerArchive(archive []byte, ref string) ([]byte, error) {
	img, clean, err := load(archive)
	if err != nil {
		return nil, err
	}
	defer clean()
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err == nil {
		img, err = gzipped(img)
	}
	var out bytes.Buffer
	if err == nil {
		err = tarball.Write(tag, img, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s as a docker archive: %w", ref, err)
	}
	return out.Bytes(), nil
}

// gzipped is the image with the same content in layers packed with gzip.
func gzipped(img v1.Image) (v1.Image, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.History, config.RootFS.DiffIDs = nil, nil // written anew, layer by layer
	out, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		again, err := tarball.LayerFromOpener(l.Uncompressed)
		if err != nil {
			return nil, err
		}
		if out, err = mutate.AppendLayers(out, again); err != nil {
			return nil, err
		}
	}
	return out, nil
}
