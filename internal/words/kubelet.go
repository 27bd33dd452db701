package words

// The words of the kubelet, read in version v1.37.2.
var (
	AllocateFailed = kubelet.says("Allocate failed", Entry{File: "pkg/kubelet/cm/admission/errors.go",
		Sample: "Allocate failed due to rpc error: code = Internal desc = the driver does not answer: input/output error, which is unexpected"})
	CreatePodSandboxForPodFailed = kubelet.says("CreatePodSandbox for pod failed", Entry{File: "pkg/kubelet/kuberuntime/kuberuntime_manager.go",
		Sample: `E1126 01:31:42.533412   22511 kuberuntime_manager.go:1747] "CreatePodSandbox for pod failed" err="rpc error: code = Unknown desc = failed to setup network for sandbox \"326bdece19f2`})
	ErrorUpdatingNodeStatus = kubelet.says("Error updating node status", Entry{File: "pkg/kubelet/kubelet_node_status.go",
		Sample: "Error updating node status, will retry"})
	FailedToCreatePodSandbox = kubelet.says("Failed to create pod sandbox", Entry{File: "pkg/kubelet/kuberuntime/kuberuntime_manager.go",
		Sample: "Failed to create pod sandbox: rpc error: code = Unavailable desc = error reading from server: EOF"})
	FailedToCreateSandboxForPod = kubelet.says("Failed to create sandbox for pod", Entry{File: "pkg/kubelet/kuberuntime/kuberuntime_sandbox.go",
		Sample: `E1126 01:31:42.533392   22511 kuberuntime_sandbox.go:74] "Failed to create sandbox for pod" err="rpc error: code = Unknown desc = failed to setup network for sandbox \"326bdece19f2`})
	FailedToEnsureLeaseExists = kubelet.says("Failed to ensure lease exists", Entry{File: "staging/src/k8s.io/component-helpers/apimachinery/lease/controller.go",
		Sample: `E1126 01:36:25.962699   17312 controller.go:208] "Failed to ensure lease exists, will retry" err="Get \"https://sickbay-control-plane:6443/apis/coordination.k8s.io/v1/na`})
	FailedToListenAndServe = kubelet.says("Failed to listen and serve", Entry{File: "pkg/kubelet/server/server.go",
		Sample: "Failed to listen and serve"})
	FailedToPullImage = kubelet.says("Failed to pull image", Entry{File: "pkg/kubelet/images/image_manager.go",
		Sample: `Failed to pull image "registry.tag-not-found-esc26.test/shop/app:1.1": rpc error: code = NotFound desc = faile`})
	FailedToStartContainerManager = kubelet.says("Failed to start ContainerManager", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: "Failed to start ContainerManager"})
	FailedToUpdateLease = kubelet.says("Failed to update lease", Entry{File: "staging/src/k8s.io/component-helpers/apimachinery/lease/controller.go",
		Sample: `E1126 15:18:08.897462   27724 controller.go:260] "Failed to update lease" err="Operation cannot be fulfilled on leases.coordination.k8s.io \"sickbay-worker\": the`})
	GettingCredentials = kubelet.says("getting credentials: exec", Entry{File: "staging/src/k8s.io/client-go/plugin/pkg/client/auth/exec/exec.go",
		Sample: `"Unable to register node with API server" err="Post \"https://10.0.0.1/api/v1/nodes\": getting credentials: exec: executable aws-iam-authenticator not found" node="w1"`})
	ListAndWatchEndedUnexpectedly = kubelet.says("ListAndWatch ended unexpectedly", Entry{File: "pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go",
		Sample: "ListAndWatch ended unexpectedly for device plugin"})
	ProcessedDeviceUpdates = kubelet.says("Processed device updates", Entry{File: "pkg/kubelet/cm/devicemanager/manager.go",
		Sample: "Processed device updates for resource"})
	ReservedCgroupLimits = kubelet.says("Reserved Cgroup Limits", Entry{File: "pkg/kubelet/cm/node_container_manager_linux.go",
		Sample: `Failed to enforce System Reserved Cgroup Limits on "/system-reserved": ["system-reserved"] cgroup does not exist`})
	SandboxForPodHasNoIPAddress = kubelet.says("Sandbox for pod has no IP address", Entry{File: "pkg/kubelet/kuberuntime/util/util.go",
		Sample: "Sandbox for pod has no IP address. Need to start a new one"})
	UnableToRegisterNode = kubelet.says("Unable to register node", Entry{File: "pkg/kubelet/kubelet_node_status.go",
		Sample: `E1128 08:46:30.176365   12958 kubelet_node_status.go:108] "Unable to register node with API server" err="Post \"https://sickbay-control-plane:6443/api/v1/nodes\": tls: fail`})
	CgroupDriverFromRuntime = kubelet.says("Using cgroup driver setting received from the CRI runtime", Entry{Since: "1.28", File: "cmd/kubelet/app/server.go",
		Sample: `I1126 01:54:44.698921   64749 server.go:1502] "Using cgroup driver setting received from the CRI runtime" cgroupDriver="systemd"`})
	CgroupV1Refused = kubelet.says("configured to not run on a host using cgroup v1", Entry{Since: "1.31", File: "pkg/kubelet/apis/config/validation/validation_linux.go",
		Sample: `.go:72] "command failed" err="failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed in a future release, path: &TypeMet`})
	ContainerRuntimeIsDown = kubelet.says("container runtime is down", Entry{File: "pkg/kubelet/runtime.go",
		Sample: `E1126 01:47:34.070499   26639 kubelet.go:2697] "Skipping pod synchronization" err="container runtime is down"`})
	RuntimeStatusNotChecked = kubelet.says("container runtime status check may not have completed", Entry{File: "pkg/kubelet/runtime.go",
		Sample: `E1126 01:34:44.999333   32132 kubelet.go:2697] "Skipping pod synchronization" err="container runtime status check may not have completed yet"`})
	ErrorLoadingConfigFile = kubelet.says("error loading config file", Entry{File: "staging/src/k8s.io/client-go/tools/clientcmd/loader.go",
		Sample: `" err="unable to read existing bootstrap client config from /etc/kubernetes/kubelet.conf: error loading config file \"/etc/kubernetes/kubelet.conf\": yaml: line 4: did not find expected key" logger="Unhand`})
	FailedLivenessProbe = kubelet.says("failed liveness probe", Entry{File: "pkg/kubelet/kuberuntime/kuberuntime_manager.go",
		Sample: "Container app failed liveness probe, will be restarted"})
	FailedToEnsureThatThePod = kubelet.says("failed to ensure that the pod", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: `E1126 15:26:08.924089   29256 pod_workers.go:1338] "Error syncing pod, skipping" err="failed to ensure that the pod: e4549535-a91a-4155-abd3-ae9152b2b352 cgroups exist and are correctly applied: failed to `})
	FailedToLoadKubeletConfig = kubelet.says("failed to load kubelet config", Entry{File: "cmd/kubelet/app/server.go",
		Sample: "failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to decode"})
	FailedToRunKubelet = kubelet.says("failed to run Kubelet", Entry{File: "cmd/kubelet/app/server.go",
		Sample: `E1126 01:54:39.900545   64665 run.go:72] "command failed" err="failed to run Kubelet: running with swap on is not supported, please disable swap or set --fail-swap-on flag to false"`})
	KubeletDropin = kubelet.says("failed to load kubelet dropin file", Entry{Since: "1.28", File: "cmd/kubelet/app/server.go",
		Sample: `"command failed" err="failed to merge kubelet configs: failed to walk through kubelet dropin directory \"/etc/kubernetes/kubelet.conf.d\": failed to load kubelet dropin file, path: /etc/kubernetes/kubelet.conf.d/20-hardening.conf, error: yaml: unmarshal errors"`})
	LoadKubeletConfigFile = kubelet.says("load kubelet config file", Entry{File: "cmd/kubelet/app/server.go",
		Sample: "failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to decode"})
	ExternalAttacher = kubelet.says("timed out waiting for external-attacher", Entry{File: "pkg/volume/csi/csi_attacher.go",
		Sample: `AttachVolume.Attach failed for volume "pv-1" : timed out waiting for external-attacher of ebs.csi.aws.com CSI driver to attach volume vol-1`})
	AlreadyContains = kubelet.says("it already contains", Entry{File: "k8s.io/utils: mount/mount_linux.go before 2020, as older CSI drivers have it",
		Sample: `failed to mount the volume as "ext4", it already contains xfs. Mount error: mount failed: exit status 32`})
	FsckFoundErrors = kubelet.says("but could not correct them", Entry{File: "mount-utils: mount_linux.go",
		Sample: "rpc error: code = Internal desc = 'fsck' found errors on device /dev/longhorn/pvc-1 but could not correct them: fsck from util-linux 2.31.1"})
	FsckTooOld = kubelet.says("has unsupported feature(s)", Entry{File: "e2fsprogs: e2fsck/unix.c, in what mount-utils says of fsck",
		Sample: "/dev/longhorn/pvc-1 has unsupported feature(s): FEATURE_C12\ne2fsck: Get a newer version of e2fsck!"})
	XFSLogToReplay = kubelet.says("valuable metadata changes in a log", Entry{File: "xfsprogs: repair/phase2.c, in what k8s.io/utils said of xfs_repair early in 2020",
		Sample: "ERROR: The filesystem has valuable metadata changes in a log which needs to\nbe replayed."})
	CSIDriverNotRegistered = kubelet.says("not found in the list of registered CSI drivers", Entry{File: "pkg/volume/csi/csi_client.go",
		Sample: "failed to create newCsiDriverClient: driver name filesystem-corrupt-4la5i.csi.sickbay.dev not found in the list of registered CSI drivers"})
	BootstrapCertificateExpired = kubelet.says("part of the existing bootstrap client certificate", Entry{File: "pkg/kubelet/certificate/bootstrap/bootstrap.go",
		Sample: `E1126 06:19:30.046748    9812 bootstrap.go:267] "Unhandled Error" err="part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2026-11-26 06:14:22 +0000 UTC" logger="UnhandledError"`})
	SwapRefused = kubelet.says("running with swap on is not supported", Entry{File: "pkg/kubelet/cm/container_manager_linux.go",
		Sample: `E1126 01:54:39.900545   64665 run.go:72] "command failed" err="failed to run Kubelet: running with swap on is not supported, please disable swap or set --fail-swap-on flag to false"`})
	RuntimeAPIForEndpoint = kubelet.says("runtime API for endpoint", Entry{File: "staging/src/k8s.io/cri-client/pkg/remote_runtime.go",
		Sample: "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint: rpc error: "})
	UnableToLoadBootstrapKubeconfig = kubelet.says("unable to load bootstrap kubeconfig", Entry{File: "pkg/kubelet/certificate/bootstrap/bootstrap.go",
		Sample: `E1126 01:37:40.931278   19085 run.go:72] "command failed" err="failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory"`})
	ValidateKubeletConfiguration = kubelet.says("validate kubelet configuration", Entry{File: "cmd/kubelet/app/server.go",
		Sample: `E1126 01:37:30.459333   26245 run.go:72] "command failed" err="failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is `})
	ValidateServiceConnection = kubelet.says("validate service connection", Entry{File: "staging/src/k8s.io/cri-client/pkg/remote_runtime.go",
		Sample: "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint: rpc error: "})
	Unauthorized = kubelet.says(`err="Unauthorized"`, Entry{File: "staging/src/k8s.io/apiserver/pkg/endpoints/filters/authentication.go",
		Sample: `E1129 08:46:30.176365   12958 kubelet_node_status.go:108] "Unable to register node with API server" err="Unauthorized" node="w1"`})
	Anonymous = kubelet.says(`User \"system:anonymous\"`, Entry{File: "staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go",
		Sample: `"Unable to register node with API server" err="nodes is forbidden: User \"system:anonymous\" cannot create resource \"nodes\" in API group \"\" at the cluster scope" node="w1"`})
	ProvideCredentials = kubelet.says("the server has asked for the client to provide credentials", Entry{File: "staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go",
		Sample: `"Failed to ensure lease exists, will retry" err="the server has asked for the client to provide credentials (get leases.coordination.k8s.io w1)"`})
	PLEGNotHealthy = kubelet.says("PLEG is not healthy: pleg was last seen active", Entry{File: "pkg/kubelet/runtime.go, pkg/kubelet/pleg/generic.go",
		Sample: "PLEG is not healthy: pleg was last seen active 3m9.221034024s ago; threshold is 3m0s"})
	LivenessProbeFailed = kubelet.says("Liveness probe failed", Entry{File: "pkg/kubelet/prober/prober.go",
		Sample: `Liveness probe failed: Get "http://10.244.7.62:8080/healthz": dial tcp 10.244.7.62:8080: connect: no route to host`})
	StartupProbeFailed = kubelet.says("Startup probe failed", Entry{File: "pkg/kubelet/prober/prober.go",
		Sample: `Startup probe failed: Get "http://10.244.8.48:8080/hostname": dial tcp 10.244.8.48:8080: connect: connection refused`})
	UnableToAttachOrMount = kubelet.says("Unable to attach or mount volumes", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition"})
	NoAuthProvider = kubelet.says("no Auth Provider found", Entry{File: "staging/src/k8s.io/client-go/rest/plugin.go",
		Sample: `no Auth Provider found for name "gcp"`})
	ContextNotFound = kubelet.says("context was not found", Entry{File: "staging/src/k8s.io/client-go/tools/clientcmd/validation.go",
		Sample: "context was not found for specified context: default-context"})
	UnableToReadClientCert = kubelet.says("unable to read client-cert", Entry{File: "staging/src/k8s.io/client-go/tools/clientcmd/validation.go",
		Sample: "invalid configuration: [unable to read client-cert /var/lib/kubelet/pki/kubelet-client-current.pem for default-auth due to open /var/lib/kubelet/pki/kubelet-client-current.pem: no such file or directory]"})
	UnableToReadClientKey = kubelet.says("unable to read client-key", Entry{File: "staging/src/k8s.io/client-go/tools/clientcmd/validation.go",
		Sample: "invalid configuration: [unable to read client-key /var/lib/kubelet/pki/kubelet-client-current.pem for default-auth due to open: no such file or directory]"})
	UnableToUpdateNodeStatus = kubelet.says("Unable to update node status", Entry{File: "pkg/kubelet/kubelet_node_status.go",
		Sample: `"Unable to update node status" err="update node status exceeds retry count"`})
	LoadKubeletConfigOld = kubelet.says("load Kubelet config file", Entry{File: "cmd/kubelet/app/server.go",
		Sample: "failed to load Kubelet config file /var/lib/kubelet/config.yaml, error failed to decode"})
	MakingPodDataDirectories = kubelet.says("error making pod data directories", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: "error making pod data directories: mkdir /var/lib/kubelet/pods/0a1b: read-only file system"})
	UnableToMakePodDataDirectories = kubelet.says("Unable to make pod data directories", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: `"Unable to make pod data directories for pod" err="mkdir /var/lib/kubelet/pods/0a1b: read-only file system" pod="default/web"`})
	OnlyItsOwnNode = kubelet.says("only its own Node object", Entry{File: "plugin/pkg/auth/authorizer/node/node_authorizer.go",
		Sample: "node: node 'lab-worker' cannot read 'web-07', only its own Node object"})
	FailedStartupProbe = kubelet.says("failed startup probe", Entry{File: "pkg/kubelet/kuberuntime/kuberuntime_manager.go",
		Sample: "Container app failed startup probe, will be restarted"})
	FailedToStartCAdvisor = kubelet.says("Failed to start cAdvisor", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: `"Failed to start cAdvisor" err="inotify_init: too many open files"`})
	InternalModules = kubelet.says("Failed to initialize internal modules", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: `"Failed to initialize internal modules" err="error creating pods directory: mkdir /var/lib/kubelet/pods: read-only file system"`})
	ReservedCompressible = kubelet.says("Reserved Compressible Cgroup Limits", Entry{File: "pkg/kubelet/cm/node_container_manager_linux.go",
		Sample: `Failed to enforce System Reserved Compressible Cgroup Limits on "/system-reserved": ["system-reserved"] cgroup does not exist`})
	DeviceConnected = kubelet.says("Device plugin connected", Entry{File: "pkg/kubelet/cm/devicemanager/manager.go",
		Sample: `"Device plugin connected" resourceName="example.com/lamp"`})
	GotRegistration = kubelet.says("Got registration request from device plugin with resource", Entry{File: "pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go",
		Sample: `"Got registration request from device plugin with resource" resourceName="example.com/lamp"`})
	NotAllowedToModify = kubelet.says("is not allowed to modify node", Entry{File: "plugin/pkg/admission/noderestriction/admission.go",
		Sample: `nodes "template-01" is forbidden: node "lab-worker" is not allowed to modify node "template-01"`})
	ActiveCertificateExpired = kubelet.says("The currently active client certificate has expired", Entry{File: "pkg/kubelet/certificate/transport.go",
		Sample: "The currently active client certificate has expired, but the server is not responsive. A restart may be necessary to retrieve new initial credentials."})
	ChildKubeletExited = kubelet.says("Kubelet exited: exit status", Entry{File: "rancher/rke2: pkg/executor/staticpod/staticpod.go",
		Sample: `time="2022-06-16T11:03:05Z" level=error msg="Kubelet exited: exit status 1"`})
	AgentWaits = kubelet.says("Waiting to retrieve agent configuration", Entry{File: "k3s-io/k3s: pkg/agent/config/config.go",
		Sample: `time="2024-03-14T09:01:22Z" level=info msg="Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag"`})
	DockerDriverDiffers = kubelet.says("is different from docker cgroup driver", Entry{Until: "1.24", File: "pkg/kubelet/dockershim/docker_service.go",
		Sample: `F0828 kubelet.go:262] failed to run Kubelet: misconfiguration: kubelet cgroup driver: "systemd" is different from docker cgroup driver: "cgroupfs"`})
	K0sChildExited = kubelet.says(`msg="Failed to wait for process" component=kubelet`, Entry{Until: "1.35", File: "k0sproject/k0s: pkg/supervisor/supervisor.go",
		Sample: `time="2024-05-14 09:01:22" level=warning msg="Failed to wait for process" component=kubelet error="exit status 1"`})
	K0sChildTerminated = kubelet.says(`msg="Process terminated unexpectedly: `, Entry{Since: "1.35", File: "k0sproject/k0s: pkg/supervisor/supervisor.go",
		Sample: `time="2026-11-24 09:01:22" level=error msg="Process terminated unexpectedly: exit status 1" component=kubelet`})
	RequestNotSigned = kubelet.says("ertificate request was not signed", Entry{File: "staging/src/k8s.io/client-go/util/certificate/certificate_manager.go",
		Sample: `E1124 10:00:00.000000 900 certificate_manager.go:562] kubernetes.io/kube-apiserver-client-kubelet: certificate request was not signed: timed out waiting for the condition`})
	MainSyncLoop = kubelet.says("Starting kubelet main sync loop", Entry{File: "pkg/kubelet/kubelet.go",
		Sample: `I1130 03:15:02.318440   21712 kubelet.go:2529] "Starting kubelet main sync loop"`})
	CannotEnforceAppArmor = kubelet.says("Cannot enforce AppArmor", Entry{File: "pkg/kubelet/lifecycle/handlers.go",
		Sample: `Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host`})
)

var kubelet = &Component{Name: "kubelet", Version: "v1.37.2"}
