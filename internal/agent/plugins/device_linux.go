package plugins

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	devices "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/sickbay-dev/sickbay/internal/retry"
)

// DevicePlugin offers pseudo devices through the kubelet's device plugin API. Each is a real device node in the container that
// gets it: one of the kernel's own, which everybody may have.
type DevicePlugin struct {
	Resource string
	Count    int
	// Dir is the kubelet's device plugin directory.
	Dir string
	// Once registers a single time, as a plugin does that never learnt to watch kubelet.sock: after a restart of the kubelet
	// nobody knows it any more.
	Once bool
	// State is DeviceStateDir but in tests.
	State string

	devices.UnimplementedDevicePluginServer
	mu      sync.Mutex
	failed  map[string]bool
	changed chan struct{} // closed and made anew at every change
}

// devicePoll is how often kubelet.sock and the devices' state are looked at. Two stat calls a second are nothing.
const devicePoll = time.Second

// Serve answers until ctx ends. It registers whenever the kubelet has made its socket anew, after removing everybody else's.
func (d *DevicePlugin) Serve(ctx context.Context) error {
	if d.State == "" {
		d.State = DeviceStateDir
	}
	if err := os.MkdirAll(d.State, 0o755); err != nil {
		return err
	}
	d.failed, d.changed = map[string]bool{}, make(chan struct{})
	go d.watchState(ctx)
	for {
		kubelet, err := d.kubeletSocket(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		l, err := listen(d.socket())
		if err != nil {
			return err
		}
		life, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			done <- serve(life, l, func(s *grpc.Server) { devices.RegisterDevicePluginServer(s, d) })
		}()
		if err := d.register(ctx); err != nil {
			log.Printf("registering with the kubelet: %v", err)
		} else {
			log.Printf("registered %s with the kubelet", d.Resource)
			d.untilKubeletRestarts(ctx, kubelet)
		}
		end()
		if err := <-done; err != nil {
			return err
		}
		if retry.Sleep(ctx, devicePoll) != nil {
			return nil
		}
	}
}

func (d *DevicePlugin) socket() string {
	return filepath.Join(d.Dir, d.kind()+".sock")
}

// kubeletSocket waits for the kubelet's socket and tells which one it is.
func (d *DevicePlugin) kubeletSocket(ctx context.Context) (os.FileInfo, error) {
	for {
		if st, err := os.Stat(filepath.Join(d.Dir, "kubelet.sock")); err == nil {
			return st, nil
		}
		if retry.Sleep(ctx, devicePoll) != nil {
			return nil, ctx.Err()
		}
	}
}

func (d *DevicePlugin) untilKubeletRestarts(ctx context.Context, was os.FileInfo) {
	tick := time.NewTicker(devicePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if d.Once {
				continue
			}
			now, err := os.Stat(filepath.Join(d.Dir, "kubelet.sock"))
			if err != nil || !os.SameFile(was, now) || now.ModTime() != was.ModTime() {
				log.Printf("the kubelet has restarted")
				return
			}
		}
	}
}

func (d *DevicePlugin) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+filepath.Join(d.Dir, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = devices.NewRegistrationClient(conn).Register(ctx, &devices.RegisterRequest{
		Version: devices.Version, Endpoint: filepath.Base(d.socket()), ResourceName: d.Resource,
	}, grpc.WaitForReady(true))
	return err
}

// watchState takes in what happens to the devices. An error stays until the plugin is started anew, which resets the device:
// no driver tells that a device has become well by itself.
func (d *DevicePlugin) watchState(ctx context.Context) {
	for {
		text, _ := os.ReadFile(filepath.Join(d.State, DeviceErrors))
		now := map[string]bool{}
		for _, name := range strings.Fields(string(text)) {
			now[name] = true
		}
		d.mu.Lock()
		same := len(now) == len(d.failed)
		for name := range now {
			same = same && d.failed[name]
		}
		if !same {
			log.Printf("devices with errors: %s", strings.Join(strings.Fields(string(text)), ", "))
			d.failed = now
			close(d.changed)
			d.changed = make(chan struct{})
		}
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(devicePoll):
		}
	}
}

func (d *DevicePlugin) list() (*devices.ListAndWatchResponse, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &devices.ListAndWatchResponse{}
	for i := range d.Count {
		health := devices.Healthy
		if d.failed[d.id(i)] {
			health = devices.Unhealthy
		}
		out.Devices = append(out.Devices, &devices.Device{ID: d.id(i), Health: health})
	}
	return out, d.changed
}

func (d *DevicePlugin) id(i int) string { return fmt.Sprintf("%s-%d", d.kind(), i) }

func (d *DevicePlugin) kind() string { return d.Resource[strings.LastIndex(d.Resource, "/")+1:] }

func (*DevicePlugin) GetDevicePluginOptions(context.Context, *devices.Empty) (*devices.DevicePluginOptions, error) {
	return &devices.DevicePluginOptions{}, nil
}

func (d *DevicePlugin) ListAndWatch(_ *devices.Empty, to grpc.ServerStreamingServer[devices.ListAndWatchResponse]) error {
	for {
		list, changed := d.list()
		if err := to.Send(list); err != nil {
			return err
		}
		select {
		case <-to.Context().Done():
			return nil
		case <-changed:
		}
	}
}

func (d *DevicePlugin) Allocate(_ context.Context, r *devices.AllocateRequest) (*devices.AllocateResponse, error) {
	if why, err := os.ReadFile(filepath.Join(d.State, DeviceRefusal)); err == nil {
		return nil, status.Error(codes.Internal, strings.TrimSpace(string(why)))
	}
	known, _ := d.list()
	out := &devices.AllocateResponse{}
	for _, c := range r.ContainerRequests {
		answer := &devices.ContainerAllocateResponse{}
		for _, id := range c.DevicesIds {
			if !slices.ContainsFunc(known.Devices, func(k *devices.Device) bool { return k.ID == id && k.Health == devices.Healthy }) {
				return nil, status.Errorf(codes.Unavailable, "device %s is not healthy", id)
			}
			answer.Devices = append(answer.Devices, &devices.DeviceSpec{HostPath: "/dev/zero", ContainerPath: "/dev/" + id, Permissions: "rw"})
		}
		out.ContainerResponses = append(out.ContainerResponses, answer)
	}
	return out, nil
}
