// Package registry runs a real image registry beside a cluster: distribution, over TLS, with a CA of its own made for the run,
// and a password where it is private.
//
// It knows containers (testcontainers-go), certificates and images; nothing of nodes, faults or scenarios. What it starts it
// labels before it exists, and never removes: whoever cleans up finds it by the labels, from any process.
package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
	"golang.org/x/crypto/bcrypt"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Certificate says what the registry's certificate is like.
type Certificate string

// What a registry's certificate may be like.
const (
	Good      Certificate = ""           // valid, for the registry's name, signed by its CA
	Expired   Certificate = "expired"    // since an hour
	OtherName Certificate = "other-name" // for another name
)

// Spec is a registry that is wanted.
type Spec struct {
	// Images are the repositories and tags it holds, such as shop/app:1.0.
	Images []string
	// Private wants a user and a password.
	Private     bool
	Certificate Certificate
}

// Place is where it runs, and for whom.
type Place struct {
	// Run is the run's id: the registry is registry.RUN.test to all that are on the network.
	Run string
	// Network is the engine's network that the nodes are on.
	Network string
	// Labels are put on the container before it exists.
	Labels map[string]string
	// Image is the registry's own image, which the engine holds.
	Image string
	// Base is an archive of the image that all of Spec.Images are made of.
	Base []byte
}

// Registry is one that runs.
type Registry struct {
	Host string
	// CA signed its certificate; OldCA has the same name and signed nothing.
	CA, OldCA string
	// PullSecret is a .dockerconfigjson with the credential.
	PullSecret []byte
}

const (
	// startBound bounds creating and starting the container: half a second, and ten times that on a busy machine.
	startBound = time.Minute
	user       = "shop"
	port       = "443/tcp"
	configFile = "/etc/sickbay/registry.yml"
	certFile   = "/etc/sickbay/server.pem"
	keyFile    = "/etc/sickbay/server.key"
	userFile   = "/etc/sickbay/htpasswd"
)

// Host is the name a run's registry has on the network. It has a dot, or the runtime would take it for a user of Docker Hub.
func Host(run string) string { return "registry." + run + ".test" }

// ContainerName is what a run's registry is called on the engine.
func ContainerName(run string) string { return "sickbay-registry-" + run }

// Start starts a registry and fills it. The engine is the one of this process's environment (engine.Setenv). Whoever called
// removes the container by its labels, also when Start fails.
func Start(ctx context.Context, p Place, s Spec) (*Registry, error) {
	now := time.Now()
	host := Host(p.Run)
	ca, err := newAuthority(now)
	if err != nil {
		return nil, err
	}
	old, err := newAuthority(now.AddDate(0, -11, 0))
	if err != nil {
		return nil, err
	}
	base, clean, err := load(p.Base)
	if err != nil {
		return nil, err
	}
	defer clean()

	password := rand.Text()
	auth := authn.Anonymous
	if s.Private {
		auth = &authn.Basic{Username: user, Password: password}
	}
	address, err := run(ctx, p, s, host, password, ca, now)
	if err != nil {
		return nil, err
	}
	for _, image := range s.Images {
		ref := host + "/" + image
		img, err := relabel(base, p.Run, ref)
		if err != nil {
			return nil, err
		}
		if err := push(ctx, img, ref, address, ca, s.Certificate, auth); err != nil {
			return nil, err
		}
	}
	secret, err := pullSecret(host, password)
	if err != nil {
		return nil, err
	}
	return &Registry{Host: host, CA: ca.pem(), OldCA: old.pem(), PullSecret: secret}, nil
}

// quiet: testcontainers-go greets on the standard error by a logger of its own, whichever one the provider is given.
var quiet sync.Once

// run starts the container and answers where this machine reaches it.
func run(ctx context.Context, p Place, s Spec, host, password string, ca *authority, now time.Time) (string, error) {
	chain, key, err := ca.certificate(now, s.Certificate, host)
	if err != nil {
		return "", err
	}
	files := []testcontainers.ContainerFile{file(configFile, []byte(config(s.Private))), file(certFile, chain), file(keyFile, key)}
	if s.Private {
		// The least cost: the password lives for minutes, and every pull computes it.
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return "", fmt.Errorf("write the registry's password: %w", err)
		}
		files = append(files, file(userFile, []byte(user+":"+string(hash)+"\n")))
	}
	// The network the nodes are on stands in for the engine's default bridge: the private engine has none, and testcontainers-go
	// would make a network of its own, which keeps no packet in and which nobody removes.
	quiet.Do(func() { tclog.SetDefault(tclog.NewNoopLogger()) })
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(tclog.NewNoopLogger()), testcontainers.WithDefaultBridgeNetwork(p.Network))
	if err != nil {
		return "", fmt.Errorf("reach the engine: %w", err)
	}
	defer provider.Close()
	c, err := provider.RunContainer(ctx, testcontainers.ContainerRequest{
		Image: p.Image, Name: ContainerName(p.Run), Labels: p.Labels,
		Cmd: []string{"serve", configFile},
		// Without it the registry looks for a collector of traces on localhost, and logs that there is none.
		Env:      map[string]string{"OTEL_TRACES_EXPORTER": "none"},
		Networks: []string{p.Network}, NetworkAliases: map[string][]string{p.Network: {host}},
		ExposedPorts: []string{port},
		HostConfigModifier: func(h *container.HostConfig) {
			// Loopback only: it is for pushing; the nodes use the network.
			h.PortBindings = network.PortMap{network.MustParsePort(port): {{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}}
		},
		// In memory, also where the image declares a volume: nothing is left on the disk.
		Tmpfs: map[string]string{"/var/lib/registry": "rw,size=256m"},
		Files: files,
		// It says so when it has its socket. Asking it would be asking where testcontainers-go thinks the engine's ports are, which
		// is wrong where this process is in a container of its own.
		WaitingFor: wait.ForLog("listening on").WithStartupTimeout(timeoutscale.Bound(startBound)),
	})
	if err != nil {
		return "", fmt.Errorf("start %s: %w", ContainerName(p.Run), err)
	}
	mapped, err := c.MappedPort(ctx, port)
	if err != nil {
		return "", fmt.Errorf("ask for the port of %s: %w", ContainerName(p.Run), err)
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(mapped.Num())), nil
}

func file(path string, content []byte) testcontainers.ContainerFile {
	return testcontainers.ContainerFile{Reader: bytes.NewReader(content), ContainerFilePath: path, FileMode: 0o600}
}

func config(private bool) string {
	c := `version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
http:
  addr: ":443"
  tls: {certificate: ` + certFile + `, key: ` + keyFile + `}
`
	if private {
		c += "auth:\n  htpasswd: {realm: registry, path: " + userFile + "}\n"
	}
	return c
}

// pullSecret is what `kubectl create secret docker-registry` would write.
func pullSecret(host, password string) ([]byte, error) {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	raw, err := json.Marshal(map[string]map[string]entry{"auths": {host: {user, password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}}})
	if err != nil {
		return nil, fmt.Errorf("write the pull secret: %w", err)
	}
	return raw, nil
}
