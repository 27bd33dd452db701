package plugins

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	devices "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet is the kubelet's side of the device plugin API, as far as a plugin sees it.
type kubelet struct {
	devices.UnimplementedRegistrationServer
	registered chan *devices.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, r *devices.RegisterRequest) (*devices.Empty, error) {
	k.registered <- r
	return &devices.Empty{}, nil
}

// startKubelet makes kubelet.sock anew and removes everybody else's, as a kubelet does.
func startKubelet(t *testing.T, dir string) (k *kubelet, stop func()) {
	t.Helper()
	old, _ := filepath.Glob(filepath.Join(dir, "*.sock"))
	for _, p := range old {
		_ = os.Remove(p)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k = &kubelet{registered: make(chan *devices.RegisterRequest, 8)}
	s := grpc.NewServer()
	devices.RegisterRegistrationServer(s, k)
	go func() { _ = s.Serve(l) }()
	return k, s.GracefulStop // the plugin gets its last answer
}

const soon = 10 * time.Second

func (k *kubelet) expect(t *testing.T) *devices.RegisterRequest {
	t.Helper()
	select {
	case r := <-k.registered:
		return r
	case <-time.After(soon):
		t.Fatal("the plugin did not register")
		return nil
	}
}

func start(t *testing.T, d *DevicePlugin) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDevicePlugin(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	k, stop := startKubelet(t, dir)
	start(t, &DevicePlugin{Resource: "sickbay.dev/lamp", Count: 3, Dir: dir, State: state})
	r := k.expect(t)
	if r.ResourceName != "sickbay.dev/lamp" || r.Endpoint != "lamp.sock" || r.Version != devices.Version {
		t.Errorf("registered as %v", r)
	}

	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, r.Endpoint), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	plugin := devices.NewDevicePluginClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	watch, err := plugin.ListAndWatch(ctx, &devices.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	healthy := func(want int) {
		t.Helper()
		list, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, d := range list.Devices {
			if d.Health == devices.Healthy {
				n++
			}
		}
		if n != want || len(list.Devices) != 3 {
			t.Errorf("%d of %d devices are healthy, want %d of 3", n, len(list.Devices), want)
		}
	}
	healthy(3)
	ask := func(id string) (*devices.AllocateResponse, error) {
		return plugin.Allocate(ctx, &devices.AllocateRequest{ContainerRequests: []*devices.ContainerAllocateRequest{{DevicesIds: []string{id}}}})
	}
	if a, err := ask("lamp-1"); err != nil || len(a.ContainerResponses) != 1 || a.ContainerResponses[0].Devices[0].ContainerPath != "/dev/lamp-1" {
		t.Errorf("allocate: %v, %v", a, err)
	}

	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(state, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(DeviceErrors, "lamp-1\nlamp-2\n")
	healthy(1)
	if _, err := ask("lamp-1"); err == nil {
		t.Error("an unhealthy device was handed out")
	}
	put(DeviceRefusal, "the driver is gone\n")
	if _, err := ask("lamp-0"); err == nil {
		t.Error("a device was handed out that should be refused")
	}

	// The kubelet restarts: a plugin that watches registers again.
	stop()
	k, stop = startKubelet(t, dir)
	defer stop()
	k.expect(t)
}

// TestDevicePluginOnce is the plugin of plugin-down: it does not notice that the kubelet is another.
func TestDevicePluginOnce(t *testing.T) {
	dir := t.TempDir()
	k, stop := startKubelet(t, dir)
	start(t, &DevicePlugin{Resource: "sickbay.dev/lamp", Count: 1, Dir: dir, State: t.TempDir(), Once: true})
	k.expect(t)
	stop()
	k, stop = startKubelet(t, dir)
	defer stop()
	select {
	case <-k.registered:
		t.Error("registered again")
	case <-time.After(3 * devicePoll):
	}
}
