package words

// The words of containerd, with go-cni and ttrpc, read in version v2.4.2.
var (
	AppArmorNotFound = containerd.says("apparmor profile not found", Entry{Since: "1.4", File: "internal/cri/sputil/apparmor_linux.go",
		Sample: "failed to generate apparmor spec opts: apparmor profile not found k8s-deny-write"})
	AppArmorParser = containerd.says("apparmor_parser", Entry{File: "contrib/apparmor/template.go",
		Sample: `failed to create containerd container: get apparmor_parser version: exec: "apparmor_parser": executable file not found in $PATH`})
	AuthorizationFailed = containerd.says("authorization failed", Entry{Since: "1.0", File: "core/remotes/docker/resolver.go",
		Sample: `hop/app:1.1": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`})
	BinaryNotInstalled = containerd.says("binary not installed", Entry{Since: "1.2", File: "core/runtime/v2/shim_manager.go",
		Sample: `sk: failed to start shim: failed to resolve runtime path: runtime "io.containerd.runc.v2" binary not installed "containerd-shim-runc-v2": file does not exist`})
	CniPluginNotInitialized = containerd.says("cni plugin not initialized", Entry{Since: "1.1", File: "go-cni: errors.go",
		Sample: "Network plugin returns error: cni plugin not initialized"})
	PrepareSnapshotDir = containerd.says("failed to create prepare snapshot dir", Entry{Since: "1.1", File: "plugins/snapshots/overlay/overlay.go",
		Sample: `2650f2a5c8940c0738dc0b81d507216ab44d61d91d5c0214": failed to create containerd container: failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overla`})
	ConfigVersion = containerd.says("expected containerd config version equal to or less than", Entry{Since: "2.0", File: "cmd/containerd/server/config/config.go",
		Sample: "containerd: failed to load TOML from /etc/containerd/config.toml: expected containerd config version equal to or less than `3`, got `9`"})
	UnsupportedConfigVersion = containerd.says("unsupported config version", Entry{Since: "1.7", Until: "2.0", File: "services/server/config/config.go",
		Sample: "containerd: failed to load TOML from /etc/containerd/config.toml: unsupported config version `3`"})
	FailedToCreateTempDir = containerd.says("failed to create temp dir", Entry{Since: "1.0", File: "plugins/snapshots/overlay/overlay.go",
		Sample: `91d5c0214": failed to create containerd container: failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-255363191`})
	FailedToGenerateSeccompSpecOpts = containerd.says("failed to generate seccomp spec opts", Entry{Since: "1.1", File: "internal/cri/server/container_create_linux.go",
		Sample: `failed to generate seccomp spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/profiles/gone.json": open /var/lib/kubelet/seccomp/profiles/gone.json: no such file or directory`})
	FailedToLoadCNIConfig = containerd.says("failed to load CNI config", Entry{Since: "1.1", File: "go-cni: opts.go",
		Sample: `cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-sickbay.conflist: error parsing configuration list: invalid character '\n' in string literal: invalid cni config: failed to load cni config`})
	FailedToStartShim = containerd.says("failed to start shim", Entry{Since: "1.0", File: "core/runtime/v2/task_manager.go",
		Sample: `1a3fa51d8dfb3d6cbdf35a02daea2b1a57be76f15b8f2c9181e3b": failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: no such file or director`})
	FailedToLoadPlugin = containerd.says("failed to load plugin", Entry{Since: "1.0", File: "cmd/containerd/server/server.go",
		Sample: "level=warning msg=\"failed to load plugin io.containerd.grpc.v1.cri\" error=\"invalid plugin config: `mirrors` cannot be set when `config_path` is provided\""})
	HostsTOMLNotDecoded = containerd.says("failed to decode hosts.toml", Entry{Since: "1.4", Until: "2.0", File: "remotes/docker/config/hosts.go",
		Sample: "time=\"2024-04-01T22:11:02.070675417Z\" level=error msg=\"failed to decode hosts.toml\" error=\"invalid `host` tree\""})
	HostsFileNotDecoded = containerd.says(`msg="failed to decode `, Entry{Since: "2.0", File: "core/remotes/docker/config/hosts.go",
		Sample: "time=\"2026-11-30T08:11:02.070675417Z\" level=error msg=\"failed to decode /etc/containerd/certs.d/registry.example.test/hosts.toml\" error=\"invalid `host` tree\""})
	HasNoNetworks = containerd.says("has no networks", Entry{Since: "1.1", File: "go-cni: opts.go",
		Sample: "cni config load failed: CNI config list in config file /etc/cni/net.d/00-x.conflist has no networks, skipping: invalid cni config: failed to load cni config"})
	InvalidCniConfig = containerd.says("invalid cni config", Entry{Since: "1.1", File: "go-cni: errors.go",
		Sample: `cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-sickbay.conflist: error parsing configuration list: invalid character '\n' in string literal: invalid cni config: failed to load cni config`})
	NoBasicAuthCredentials = containerd.says("no basic auth credentials", Entry{Since: "2.0", File: "core/remotes/docker/authorizer.go",
		Sample: "ess denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"})
	NoNetworkConfigFound = containerd.says("no network config found", Entry{Since: "1.1", File: "go-cni: opts.go",
		Sample: "cni config load failed: no network config found in /etc/cni/net.d: cni plugin not initialized: failed to load cni config"})
	PullAccessDenied = containerd.says("pull access denied", Entry{Since: "1.1", File: "core/remotes/docker/resolver.go",
		Sample: `ailed to resolve reference "registry.imagepull-private-registry-47xut.test/shop/app:1.1": pull access denied, repository does not exist or may require authorization: authorization failed: no basic a`})
	RepositoryMayRequire = containerd.says("repository does not exist or may require", Entry{Since: "1.1", File: "core/remotes/docker/resolver.go",
		Sample: `erence "registry.imagepull-private-registry-47xut.test/shop/app:1.1": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`})
	SetupNetworkForSandbox = containerd.says("setup network for sandbox", Entry{Since: "1.1", File: "internal/cri/server/sandbox_run.go",
		Sample: `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "326bdece19f2f1ab5344cc89cca86a970c250c09a2a6710cdfae5165005d4a4b": plugin type="ptp" fai`})
	ShimDisconnected = containerd.says("shim disconnected", Entry{Since: "1.3", File: "core/runtime/v2/shim_load.go",
		Sample: `time="2026-11-26T06:12:21.369902280Z" level=info msg="shim disconnected" id=5ae22aa9f451810a05acce607489b26c38c809162f6b39fa712f9ac9ad8ddc9f`})
	TryingNextHost = containerd.says("trying next host", Entry{Since: "1.5", File: "core/remotes/docker/resolver.go",
		Sample: `time="2026-11-26T01:46:31.460164567Z" level=info msg="trying next host after status: 404 Not Found" host=registry.tag-not-found-esc26.test method=HEAD url="http`})
	TtrpcClosed = containerd.says("ttrpc: closed", Entry{Since: "1.1", File: "ttrpc: errors.go",
		Sample: `time="2026-11-26T06:11:53.561640140Z" level=error msg="collecting metrics for 11197928eeaa32a1106b8261caf4013ff03cef7e42c29f03d8349dae9d342ad3" error="ttrpc: closed"`})
	UnableToRetrieveOCIRuntimeError = containerd.says("unable to retrieve OCI runtime error", Entry{Since: "1.0", File: "cmd/containerd-shim-runc-v2/process/init.go",
		Sample: " failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/io.containerd.runtime.v2.task/k8s.io/64572c349a83b738978beea3907fb2"})
	ConvertCNIConfig = containerd.says("failed to convert CNI config", Entry{Since: "1.1", File: "go-cni: opts.go",
		Sample: "cni config load failed: failed to convert CNI config file /etc/cni/net.d/10-x.conf to CNI config list: invalid cni config: failed to load cni config"})
	NetworkTypeNotFound = containerd.says("network type not found", Entry{Since: "1.1", File: "go-cni: opts.go",
		Sample: "cni config load failed: network type not found in /etc/cni/net.d/10-x.conf: invalid cni config: failed to load cni config"})
	PrepareExtraction = containerd.says("failed to prepare extraction snapshot", Entry{Since: "1.0", File: "core/unpack/unpacker.go",
		Sample: `failed to pull and unpack image "a": failed to prepare extraction snapshot "extract-1": failed to create prepare snapshot dir`})
	MountRootfsComponent = containerd.says("failed to mount rootfs component", Entry{Since: "1.0", File: "cmd/containerd-shim-runc-v2/runc/container.go",
		Sample: "failed to create containerd task: failed to create shim task: failed to mount rootfs component: invalid argument"})
	CannotLoadSeccomp = containerd.says("cannot load seccomp profile", Entry{Since: "1.3", File: "contrib/seccomp/seccomp.go",
		Sample: `failed to generate seccomp spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/audit.json": open /var/lib/kubelet/seccomp/audit.json: no such file or directory`})
)

var containerd = &Component{Name: "containerd", Version: "v2.4.2"}
