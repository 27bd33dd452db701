package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
)

func (a *app) image() *cobra.Command {
	return a.group("image", "Build and list node images",
		"Nodes run the image you name, else one that the engine holds, else kind's own from its registry, else one built here from Go modules and Debian packages.",
		`  sickbay image list
  sickbay image build --kubernetes 1.36
  sickbay image build --export node.tar`, a.imageBuild(), a.imageList())
}

func (a *app) imageBuild() *cobra.Command {
	var spec nodeimage.Spec
	var export string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the node image from Go modules and Debian packages",
		Long: `Build the node image without a registry. Its parts are cached by a hash of their inputs: nothing is built twice, and an
interrupted build continues.`,
		Example: "  sickbay image build\n  sickbay image build --kubernetes 1.36    # another minor, beside the default one\n  sickbay image build --runtime crio       # nodes with CRI-O\n  sickbay image build --export node.tar    # for `docker load` elsewhere",
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&spec.Version, "kubernetes", "", "Kubernetes version or minor (default "+nodeimage.DefaultVersion+")")
	a.runtimeFlag(cmd, &spec.Runtime)
	cmd.Flags().StringVar(&spec.Source, "source", "", "the images folder of the project, if it is not found")
	cmd.Flags().StringVar(&export, "export", "", "write an archive instead of loading the image into the engine")
	_ = cmd.RegisterFlagCompletionFunc("kubernetes", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		v, _ := nodeimage.Versions(spec.Source)
		return v, cobra.ShellCompDirectiveNoFileComp
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := (clusterOptions{kubernetes: spec.Version, runtime: spec.Runtime}).check(); err != nil {
			return err
		}
		if export == "" {
			e, err := a.deps.ensureEngine(ctx)
			if err != nil {
				return err
			}
			ref, err := nodeimage.Build(ctx, e, spec)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, ref)
			return nil
		}
		f, err := os.CreateTemp(filepath.Dir(export), ".sickbay-export-*")
		if err != nil {
			return usagef("--export %s: %s", export, err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		ref, err := nodeimage.Export(ctx, spec, f)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("write %s: %w", export, err)
		}
		if err := os.Rename(f.Name(), export); err != nil {
			return fmt.Errorf("write %s: %w", export, err)
		}
		fmt.Fprintf(a.out, "%s in %s\n", ref, export)
		return nil
	}
	return cmd
}

func (a *app) imageList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the node images in the engine",
		Example: "  sickbay image list -o json",
		Args:    noArgs,
	}
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		e, err := a.deps.presentEngine(cmd.Context())
		if err != nil {
			return err
		}
		images, err := nodeImages(cmd.Context(), e)
		if err != nil {
			return err
		}
		return print(a, *form, listOf("ImageList", images), func(w io.Writer) {
			if len(images) == 0 {
				fmt.Fprintf(w, "%s has no node image; `sickbay doctor` says where one would come from\n", e)
				return
			}
			table(w, func(row func(...string)) {
				row("IMAGE", "ID", "SIZE", "MADE")
				for _, i := range images {
					row(i.Ref, i.ID, i.Size, i.Created)
				}
			})
		})
	}
	return cmd
}

// nodeImage is one image that nodes can run.
type nodeImage struct {
	Ref     string `json:"ref"`
	ID      string `json:"id"`
	Size    string `json:"size"`
	Created string `json:"created"`
}

// nodeImages lists ours and kind's.
func nodeImages(ctx context.Context, e *engine.Engine) ([]nodeImage, error) {
	images := []nodeImage{}
	for _, repo := range append(nodeimage.Repositories(), "kindest/node") {
		cmd := e.Command(ctx, "images", "--filter", "reference="+repo, "--format", "{{.Repository}}:{{.Tag}}\t{{.ID}}\t{{.Size}}\t{{.CreatedAt}}")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list the images of %s: %s: %w", e, strings.Join(cmd.Args, " "), err)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 4 {
				images = append(images, nodeImage{f[0], f[1], f[2], f[3]})
			}
		}
	}
	return images, nil
}
