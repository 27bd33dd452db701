package plugins

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// CSIRegistrar announces a CSI driver to the kubelet through the plugin directory, as node-driver-registrar does: once, by a
// socket that the kubelet finds. It does not notice when somebody takes that socket away.
type CSIRegistrar struct {
	// Driver is the driver's socket as this process sees it, Address as the kubelet sees it.
	Driver, Address string
	// Dir is the kubelet's plugin directory.
	Dir string

	registration.UnimplementedRegistrationServer
	name string
}

// driverWait is how long a driver may take to answer first: its container starts beside this one.
const driverWait = 30 * time.Second

// Serve asks the driver for its name and answers the kubelet until ctx ends.
func (r *CSIRegistrar) Serve(ctx context.Context) error {
	conn, err := grpc.NewClient("unix://"+r.Driver, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the driver at %s: %w", r.Driver, err)
	}
	defer conn.Close()
	ask, cancel := context.WithTimeout(ctx, timeoutscale.Bound(driverWait))
	defer cancel()
	info, err := csi.NewIdentityClient(conn).GetPluginInfo(ask, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("ask the driver at %s for its name: %w", r.Driver, err)
	}
	r.name = info.Name
	log.Printf("driver %s answers on %s", r.name, r.Driver)
	l, err := listen(r.Dir + "/" + r.name + "-reg.sock")
	if err != nil {
		return err
	}
	return serve(ctx, l, func(s *grpc.Server) { registration.RegisterRegistrationServer(s, r) })
}

func (r *CSIRegistrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.name, Endpoint: r.Address, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r *CSIRegistrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if s.PluginRegistered {
		log.Printf("the kubelet registered %s", r.name)
	} else {
		log.Printf("the kubelet did not register %s: %s", r.name, s.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
