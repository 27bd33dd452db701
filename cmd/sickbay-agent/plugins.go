//go:build linux

package main

import (
	"context"
	"errors"
	"flag"

	"github.com/sickbay-dev/sickbay/internal/agent/plugins"
)

// The plugins' verbs do not answer once and end: they are the main processes of pods, and write a log instead of a document.

func csiDriver(ctx context.Context, args []string) (any, error) {
	d := &plugins.CSIDriver{}
	if err := flags(plugins.VerbCSIDriver, args, func(fs *flag.FlagSet) {
		fs.StringVar(&d.Name, "name", "", "")
		fs.StringVar(&d.Node, "node", "", "")
		fs.StringVar(&d.Socket, "socket", "", "")
		fs.StringVar(&d.Images, "images", "", "")
	}); err != nil {
		return nil, err
	}
	if d.Name == "" || d.Node == "" || d.Socket == "" || d.Images == "" {
		return nil, &requestError{errors.New("csi-driver wants --name, --node, --socket and --images")}
	}
	return nil, d.Serve(ctx)
}

func csiRegistrar(ctx context.Context, args []string) (any, error) {
	r := &plugins.CSIRegistrar{}
	if err := flags(plugins.VerbCSIRegistrar, args, func(fs *flag.FlagSet) {
		fs.StringVar(&r.Driver, "driver", "", "")
		fs.StringVar(&r.Address, "address", "", "")
		fs.StringVar(&r.Dir, "dir", "/var/lib/kubelet/plugins_registry", "")
	}); err != nil {
		return nil, err
	}
	if r.Driver == "" || r.Address == "" {
		return nil, &requestError{errors.New("csi-registrar wants --driver and --address")}
	}
	return nil, r.Serve(ctx)
}

func devicePlugin(ctx context.Context, args []string) (any, error) {
	d := &plugins.DevicePlugin{}
	if err := flags(plugins.VerbDevicePlugin, args, func(fs *flag.FlagSet) {
		fs.StringVar(&d.Resource, "resource", "", "")
		fs.IntVar(&d.Count, "count", 1, "")
		fs.StringVar(&d.Dir, "dir", "/var/lib/kubelet/device-plugins", "")
		fs.BoolVar(&d.Once, "register-once", false, "")
	}); err != nil {
		return nil, err
	}
	if d.Resource == "" || d.Count < 1 {
		return nil, &requestError{errors.New("device-plugin wants --resource and a positive --count")}
	}
	return nil, d.Serve(ctx)
}
