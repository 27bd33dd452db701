// Command storage provisions the volumes of the default storage class: a directory on the node the scheduler chose.
//
//	storage serve       the controller
//	storage make DIR    run by a helper pod on that node: makes the volume's directory
//	storage remove DIR  likewise: removes it with all it holds
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerName = "sickbay.dev/local-path"
	// root is where every volume lives on its node; the helpers refuse any other place.
	root = "/var/local-path-provisioner"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		slog.Error("storage stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx)
	case len(args) == 2 && args[0] == "make":
		return makeVolume(root, args[1])
	case len(args) == 2 && args[0] == "remove":
		return removeVolume(root, args[1])
	}
	return errors.New("usage: storage serve | make DIR | remove DIR")
}

func serve(ctx context.Context) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("reading the pod's service account: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing a client for %s: %w", config.Host, err)
	}
	p := &provisioner{client: client, namespace: os.Getenv("POD_NAMESPACE"), image: os.Getenv("HELPER_IMAGE")}
	if p.namespace == "" || p.image == "" {
		return errors.New("POD_NAMESPACE and HELPER_IMAGE must be set: the Deployment fills them")
	}
	// One replica: an election would only delay the first volume by its lease.
	controller.NewProvisionController(ctx, client, provisionerName, p, controller.LeaderElection(false)).Run(ctx)
	return nil
}

// inside answers whether dir is a direct child of root, spelled without detours.
func inside(root, dir string) error {
	if filepath.Clean(dir) != dir || filepath.Dir(dir) != root || strings.HasPrefix(filepath.Base(dir), ".") {
		return fmt.Errorf("%q is not a volume directory directly below %s", dir, root)
	}
	return nil
}

func makeVolume(root, dir string) error {
	if err := inside(root, dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making volume %s: %w", dir, err)
	}
	// Any user a pod runs as may write, whatever this process's umask.
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("opening volume %s: %w", dir, err)
	}
	return nil
}

func removeVolume(root, dir string) error {
	if err := inside(root, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing volume %s: %w", dir, err)
	}
	return nil
}
