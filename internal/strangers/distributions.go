package strangers

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// service is the kubelet or the runtime of a distribution: its systemd unit, the name of its process and its program.
type service struct{ unit, process, exe string }

// distribution is what makes a node of one kind another than one of another kind.
type distribution struct {
	name, os   string
	kubelet    service
	flags      []string // of the kubelet
	files      []string // that its configuration is merged from
	kubeconfig string
	server     string
	endpoints  []string // of the API server, as the cluster tells them
	certs      string   // where the client certificate is

	runtime       service
	cri, version  string
	endpoint      string
	root, state   string
	config        []string // the runtime's configuration files
	shims, runc   string   // folder and file; empty where the runtime does not tell
	handlers      []string
	confDir       string
	binDirs       []string
	crictl        string
	others        []service // units beside the two
	change        func(o *v1alpha1.Observation)
	usualNetworks []string
}

// kubeadm is what most distributions have in common.
var kubeadm = distribution{
	kubelet: service{"kubelet", "kubelet", "/usr/bin/kubelet"}, files: []string{"/var/lib/kubelet/config.yaml"},
	flags:      []string{"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml"},
	kubeconfig: "/etc/kubernetes/kubelet.conf", certs: "/var/lib/kubelet/pki",
	runtime: service{"containerd", "containerd", "/usr/bin/containerd"}, cri: "containerd", version: "2.1.4", endpoint: "unix:///run/containerd/containerd.sock",
	root: "/var/lib/containerd", state: "/run/containerd", config: []string{"/etc/containerd/config.toml"},
	shims: "/usr/bin", runc: "/usr/bin/runc", handlers: []string{"runc"}, confDir: "/etc/cni/net.d", binDirs: []string{"/opt/cni/bin"}, crictl: "/usr/bin/crictl",
}

func like(d distribution, change func(d *distribution)) distribution {
	change(&d)
	return d
}

// eks has what EKS's two images share: an API server by a name of AWS's, an agent for credentials instead of a certificate.
var eks = like(kubeadm, func(d *distribution) {
	d.server, d.endpoints = "https://0A1B2C3D4E5F60718293A4B5C6D7E8F9.gr7.eu-west-1.eks.amazonaws.com", []string{"10.0.103.17", "10.0.201.5"}
	d.usualNetworks = []string{"AWS VPC CNI"}
	d.change = func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Exec, o.Kubelet.Kubeconfig.ClientCert = "aws-iam-authenticator", ""
		o.Certs = o.Certs[:1]
		o.Kubelet.NodeNames = []string{o.Node}
	}
})

// distributions are built from what each project publishes of its nodes' layout.
var distributions = []distribution{
	// https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/high-availability/: the kubelets' server is the load balancer's
	// name, which is the address of no control-plane node.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server = "kubeadm HA", "Ubuntu 24.04.3 LTS", "https://k8s-api.example.net:6443"
		d.endpoints = []string{"cp-1", "10.0.0.11", "cp-2", "10.0.0.12", "cp-3", "10.0.0.13"}
	}),
	// https://github.com/awslabs/amazon-eks-ami: templates/al2023/runtime/…/kubelet.service, nodeadm/internal/kubelet/config.go,
	// nodeadm/internal/containerd.
	like(eks, func(d *distribution) {
		d.name, d.os = "EKS AL2023", "Amazon Linux 2023.9"
		d.flags = []string{"--config", "/etc/kubernetes/kubelet/config.json", "--kubeconfig", "/var/lib/kubelet/kubeconfig", "--container-runtime-endpoint", "unix:///run/containerd/containerd.sock",
			"--config-dir=/etc/kubernetes/kubelet/config.json.d", "--node-ip=10.0.12.34", "--cloud-provider=external", "--hostname-override=ip-10-0-12-34.eu-west-1.compute.internal"}
		d.files, d.kubeconfig = []string{"/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf"}, "/var/lib/kubelet/kubeconfig"
		d.runc, d.shims = "/usr/sbin/runc", "/usr/bin"
		d.others = []service{{"nodeadm-run", "", ""}}
	}),
	// https://github.com/bottlerocket-os/bottlerocket-core-kit: packages/kubernetes-1.*/kubelet-exec-start-conf and kubelet-config,
	// packages/containerd-*; https://github.com/bottlerocket-os/bottlerocket/blob/develop/SECURITY_FEATURES.md: SELinux, read-only root.
	like(eks, func(d *distribution) {
		d.name, d.os = "EKS Bottlerocket", "Bottlerocket OS 1.48.0 (aws-k8s-1.33)"
		d.flags = []string{"--cloud-provider", "external", "--kubeconfig", "/etc/kubernetes/kubelet/kubeconfig", "--config", "/etc/kubernetes/kubelet/config", "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
			"--containerd=/run/containerd/containerd.sock", "--root-dir", "/var/lib/kubelet", "--cert-dir", "/var/lib/kubelet/pki", "--runtime-cgroups", "/runtime.slice/containerd.service"}
		d.files, d.kubeconfig, d.crictl = []string{"/etc/kubernetes/kubelet/config"}, "/etc/kubernetes/kubelet/kubeconfig", ""
		d.others = []service{{"host-containerd", "containerd", "/usr/bin/host-containerd"}}
		iam := d.change
		d.change = func(o *v1alpha1.Observation) {
			iam(o)
			o.Security.SELinux = "enforcing"
			o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/", Source: "/dev/dm-0", Root: "/", Type: "erofs", Options: []string{"ro", "seclabel", "relatime"}})
			o.Runtime.Handlers = append(o.Runtime.Handlers, v1alpha1.RuntimeHandler{Name: "shimpei", Type: "io.containerd.runc.v2", BinaryName: "shimpei", SystemdCgroup: detectorstest.Ptr(true), ShimPath: "/usr/bin/containerd-shim-runc-v2", RuntimePath: "/usr/bin/shimpei"})
		}
	}),
	// https://github.com/Azure/AgentBaker: parts/linux/cloud-init/artifacts/kubelet.service, cse_config.sh.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "AKS", "Ubuntu 22.04.5 LTS", "https://prod-dns-1a2b3c4d.hcp.westeurope.azmk8s.io:443", []string{"20.31.4.7"}
		d.flags = []string{"--kubeconfig", "/var/lib/kubelet/kubeconfig", "--bootstrap-kubeconfig", "/var/lib/kubelet/bootstrap-kubeconfig", "--config", "/etc/default/kubeletconfig.json", "--runtime-cgroups=/system.slice/containerd.service",
			"--container-runtime-endpoint=unix:///run/containerd/containerd.sock", "--cert-dir=/etc/kubernetes/certs", "--cloud-provider=external"}
		d.files, d.kubeconfig, d.certs = []string{"/etc/default/kubeletconfig.json"}, "/var/lib/kubelet/kubeconfig", "/etc/kubernetes/certs"
		d.kubelet.exe, d.runc, d.crictl = "/opt/bin/kubelet", "/usr/bin/runc", "/usr/local/bin/crictl"
		d.usualNetworks = []string{"Cilium"}
		d.change = func(o *v1alpha1.Observation) { o.Security.AppArmor = true }
	}),
	// https://github.com/kubernetes/kubernetes/blob/master/cluster/gce/gci/configure-helper.sh.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "GKE", "Container-Optimized OS from Google", "https://10.132.0.2", []string{"34.76.12.9"}
		d.flags = []string{"--v=2", "--cloud-provider=external", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--bootstrap-kubeconfig=/var/lib/kubelet/bootstrap-kubeconfig", "--config=/home/kubernetes/kubelet-config.yaml",
			"--cert-dir=/var/lib/kubelet/pki/", "--container-runtime-endpoint=unix:///run/containerd/containerd.sock", "--runtime-cgroups=/system.slice/containerd.service", "--volume-plugin-dir=/home/kubernetes/flexvolume"}
		d.files, d.kubeconfig, d.binDirs, d.kubelet.exe = []string{"/home/kubernetes/kubelet-config.yaml"}, "/var/lib/kubelet/kubeconfig", []string{"/home/kubernetes/bin"}, "/home/kubernetes/bin/kubelet"
		d.crictl = "/home/kubernetes/bin/crictl"
		d.usualNetworks = []string{"GKE"}
		d.change = func(o *v1alpha1.Observation) {
			o.Kubelet.Kubeconfig.Exec = ""
			o.Security.AppArmor = true
			o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/", Source: "/dev/dm-0", Root: "/", Type: "ext2", Options: []string{"ro", "relatime"}},
				v1alpha1.Mount{Target: "/home/kubernetes/bin", Source: "/dev/sda1", Root: "/home/kubernetes/bin", Type: "ext4", Options: []string{"rw", "nosuid", "nodev"}})
		}
	}),
	// https://docs.k3s.io/architecture: one process is supervisor and kubelet, with a load balancer of its own on 6444; containerd and
	// its programs lie in /var/lib/rancher/k3s (https://github.com/k3s-io/k3s: pkg/agent/config, pkg/data).
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "k3s", "Debian GNU/Linux 12 (bookworm)", "https://127.0.0.1:6444", []string{"10.0.0.11"}
		d.kubelet = service{"k3s-agent", "k3s-agent", "/var/lib/rancher/k3s/data/7c4d/bin/k3s"}
		d.flags = []string{"--kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "--config-dir=/var/lib/rancher/k3s/agent/etc/kubelet.conf.d", "--cert-dir=/var/lib/rancher/k3s/agent/pki", "--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock"}
		d.files, d.kubeconfig, d.certs = []string{"/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf"}, "/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "/var/lib/rancher/k3s/agent"
		d.runtime = service{"k3s-agent", "containerd", "/var/lib/rancher/k3s/data/7c4d/bin/containerd"}
		d.version, d.endpoint, d.root, d.state = "v2.1.4-k3s1", "unix:///run/k3s/containerd/containerd.sock", "/var/lib/rancher/k3s/agent/containerd", "/run/k3s/containerd"
		d.config, d.shims, d.runc = []string{"/var/lib/rancher/k3s/agent/etc/containerd/config.toml"}, "/var/lib/rancher/k3s/data/7c4d/bin", "/var/lib/rancher/k3s/data/7c4d/bin/runc"
		d.confDir, d.binDirs = "/var/lib/rancher/k3s/agent/etc/cni/net.d", []string{"/var/lib/rancher/k3s/data/cni"}
		d.crictl = "/var/lib/rancher/k3s/data/7c4d/bin/crictl"
		d.usualNetworks = []string{"flannel"}
		d.change = rancher
	}),
	// https://docs.rke2.io/architecture: the supervisor starts kubelet and containerd, all in one unit; SELinux profile of the CIS guide.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "RKE2", "Rocky Linux 9.6 (Blue Onyx)", "https://127.0.0.1:6443", []string{"10.0.0.11", "10.0.0.12", "10.0.0.13"}
		d.kubelet = service{"rke2-agent", "kubelet", "/var/lib/rancher/rke2/data/v1.33.4-rke2r1-2f0a/bin/kubelet"}
		d.flags = []string{"--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig", "--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d", "--cert-dir=/var/lib/rancher/rke2/agent/pki", "--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock", "--kubelet-cgroups=/rke2"}
		d.files, d.kubeconfig, d.certs = []string{"/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf"}, "/var/lib/rancher/rke2/agent/kubelet.kubeconfig", "/var/lib/rancher/rke2/agent"
		d.runtime = service{"rke2-agent", "containerd", "/var/lib/rancher/rke2/data/v1.33.4-rke2r1-2f0a/bin/containerd"}
		d.version, d.endpoint, d.root, d.state = "v2.1.4-k3s1", "unix:///run/k3s/containerd/containerd.sock", "/var/lib/rancher/rke2/agent/containerd", "/run/k3s/containerd"
		d.config, d.shims, d.runc = []string{"/var/lib/rancher/rke2/agent/etc/containerd/config.toml"}, "/var/lib/rancher/rke2/bin", "/var/lib/rancher/rke2/bin/runc"
		d.crictl = "/var/lib/rancher/rke2/bin/crictl"
		d.change = func(o *v1alpha1.Observation) {
			rancher(o)
			o.Security.SELinux = "enforcing"
		}
	}),
	// https://github.com/k0sproject/k0s: pkg/component/worker (kubelet.go, containerd), docs/runtime.md: k0s starts kubelet and containerd, all in
	// one unit, and brings no crictl.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "k0s", "Ubuntu 24.04.3 LTS", "https://10.0.0.11:6443", []string{"10.0.0.11"}
		d.kubelet = service{"k0sworker", "kubelet", "/var/lib/k0s/bin/kubelet"}
		d.flags = []string{"--root-dir=/var/lib/k0s/kubelet", "--config=/var/lib/k0s/kubelet-config.yaml", "--kubeconfig=/var/lib/k0s/kubelet.conf", "--cert-dir=/var/lib/k0s/kubelet/pki", "--container-runtime-endpoint=unix:///run/k0s/containerd.sock", "--containerd=/run/k0s/containerd.sock", "--runtime-cgroups=/system.slice/containerd.service"}
		d.files, d.kubeconfig, d.certs = []string{"/var/lib/k0s/kubelet-config.yaml"}, "/var/lib/k0s/kubelet.conf", "/var/lib/k0s/kubelet/pki"
		d.runtime = service{"k0sworker", "containerd", "/var/lib/k0s/bin/containerd"}
		d.endpoint, d.root, d.state, d.config = "unix:///run/k0s/containerd.sock", "/var/lib/k0s/containerd", "/run/k0s/containerd", []string{"/etc/k0s/containerd.toml", "/run/k0s/containerd-cri.toml"}
		d.shims, d.runc, d.crictl = "/var/lib/k0s/bin", "/var/lib/k0s/bin/runc", ""
		d.change = func(o *v1alpha1.Observation) { o.Kubelet.RootDir = "/var/lib/k0s/kubelet" }
	}),
	// https://github.com/openshift/machine-config-operator: templates/worker/01-worker-kubelet/_base/units/kubelet.service.yaml and
	// files/kubelet.yaml, templates/common/_base/files/crio.yaml (conmon_cgroup = "pod"); https://github.com/openshift/multus-cni.
	// /etc/kubernetes/kubelet.conf is the kubelet's configuration there, not its kubeconfig.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "OpenShift", "Red Hat Enterprise Linux CoreOS 9.6", "https://api-int.prod.example.net:6443", []string{"master-0", "10.0.0.11", "master-1", "10.0.0.12", "master-2", "10.0.0.13"}
		d.kubelet = service{"kubelet", "kubelet", "/usr/bin/kubelet"}
		d.flags = []string{"--config=/etc/kubernetes/kubelet.conf", "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--container-runtime-endpoint=/var/run/crio/crio.sock",
			"--runtime-cgroups=/system.slice/crio.service", "--volume-plugin-dir=/etc/kubernetes/kubelet-plugins/volume/exec", "--node-ip=10.0.0.31"}
		d.files, d.kubeconfig = []string{"/etc/kubernetes/kubelet.conf"}, "/var/lib/kubelet/kubeconfig"
		crio(d)
		d.confDir, d.binDirs = "/etc/kubernetes/cni/net.d", []string{"/var/lib/cni/bin", "/usr/libexec/cni"}
		d.usualNetworks = []string{"Multus"}
		d.change = func(o *v1alpha1.Observation) { o.Security.SELinux = "enforcing" }
	}),
	// https://github.com/cri-o/packaging and https://github.com/cri-o/cri-o/blob/main/docs/crio.conf.5.md: conmon below system.slice.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "kubeadm with CRI-O", "Fedora Linux 42 (Server Edition)", "https://10.0.0.10:6443", []string{"cp-1", "10.0.0.10"}
		crio(d)
		d.binDirs = []string{"/opt/cni/bin", "/usr/libexec/cni"}
		d.change = func(o *v1alpha1.Observation) { o.Security.SELinux = "permissive" }
	}),
	// https://github.com/siderolabs/talos: internal/app/machined/pkg/system/services/kubelet.go and cri.go, pkg/machinery/constants: no
	// systemd, no journal, no shell; the API server through KubePrism, https://docs.siderolabs.com/kubernetes-guides/advanced-guides/kubeprism.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "Talos", "Talos (v1.11.2)", "https://127.0.0.1:7445", []string{"talos-cp-1", "10.0.0.11"}
		d.kubelet, d.runtime = service{"", "kubelet", "/usr/local/bin/kubelet"}, service{"", "containerd", "/bin/containerd"}
		d.flags = []string{"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubeconfig", "--kubeconfig=/etc/kubernetes/kubeconfig-kubelet", "--config=/etc/kubernetes/kubelet.yaml", "--cert-dir=/var/lib/kubelet/pki", "--hostname-override=talos-w-1"}
		d.files, d.kubeconfig, d.config, d.shims, d.runc, d.crictl = []string{"/etc/kubernetes/kubelet.yaml"}, "/etc/kubernetes/kubeconfig-kubelet", []string{"/etc/cri/containerd.toml", "/etc/cri/conf.d/cri.toml"}, "/bin", "/bin/runc", ""
		d.usualNetworks = []string{"flannel"}
		d.change = func(o *v1alpha1.Observation) {
			o.Units = nil
			detectorstest.Unknown(o, `exec: "systemctl": executable file not found in $PATH`, v1alpha1.SourceUnits)
			detectorstest.Unknown(o, `exec: "journalctl": executable file not found in $PATH`, v1alpha1.SourceJournal)
		}
	}),
	// https://www.flatcar.org/docs/latest/container-runtimes/ and /getting-started-with-kubernetes/: /usr is read-only, containerd has its
	// configuration there, and kubeadm puts its programs into /opt.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "Flatcar", "Flatcar Container Linux by Kinvolk 4230.2.2", "https://10.0.0.10:6443", []string{"cp-1", "10.0.0.10"}
		d.kubelet.exe, d.crictl, d.config = "/opt/bin/kubelet", "/opt/bin/crictl", []string{"/usr/share/containerd/config.toml"}
		d.others = []service{{"docker", "dockerd", "/usr/bin/dockerd"}}
		d.change = func(o *v1alpha1.Observation) {
			o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/usr", Source: "/dev/mapper/usr", Root: "/", Type: "btrfs", Options: []string{"ro", "seclabel", "relatime"}})
		}
	}),
	// https://canonical.com/microk8s/docs/configuring-services: one process for all of Kubernetes, and containerd, each a service of the snap.
	like(kubeadm, func(d *distribution) {
		const data, common = "/var/snap/microk8s/current", "/var/snap/microk8s/common"
		d.name, d.os, d.server, d.endpoints = "MicroK8s", "Ubuntu 24.04.3 LTS", "https://127.0.0.1:16443", []string{"mk8s-1", "10.0.0.41"}
		d.kubelet = service{"snap.microk8s.daemon-kubelite", "kubelite", "/snap/microk8s/8321/kubelite"}
		d.flags = []string{"--kubeconfig=" + data + "/credentials/kubelet.config", "--cert-dir=" + data + "/certs", "--root-dir=" + common + "/var/lib/kubelet", "--container-runtime-endpoint=unix://" + common + "/run/containerd.sock",
			"--eviction-hard=memory.available<100Mi,nodefs.available<1Gi,imagefs.available<1Gi", "--fail-swap-on=false"}
		d.files, d.kubeconfig, d.certs = nil, data+"/credentials/kubelet.config", data+"/certs"
		d.runtime = service{"snap.microk8s.daemon-containerd", "containerd", "/snap/microk8s/8321/bin/containerd"}
		d.endpoint, d.root, d.state, d.config = "unix://"+common+"/run/containerd.sock", common+"/var/lib/containerd", common+"/run/containerd", []string{data + "/args/containerd.toml"}
		d.shims, d.runc, d.crictl = "/snap/microk8s/8321/bin", "/snap/microk8s/8321/bin/runc", ""
		d.confDir, d.binDirs = data+"/args/cni-network", []string{data + "/opt/cni/bin"}
		d.change = func(o *v1alpha1.Observation) {
			o.Kubelet.RootDir, o.Security.AppArmor = common+"/var/lib/kubelet", true
			o.Filesystems[0].Path = o.Kubelet.RootDir
			o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 4 << 30, UsedBytes: 80 << 20, InFstab: true}}
			no := detectorstest.Ptr(false)
			o.Kubelet.Config.FailSwapOn, o.Kubelet.File.FailSwapOn = no, no
			o.Certs[1].Path = data + "/certs/kubelet.crt"
		}
	}),
	// https://mirantis.github.io/cri-dockerd/: containerd is Docker's there, and no CRI runtime.
	like(kubeadm, func(d *distribution) {
		d.name, d.os, d.server, d.endpoints = "cri-dockerd", "Ubuntu 22.04.5 LTS", "https://10.0.0.10:6443", []string{"cp-1", "10.0.0.10"}
		d.runtime, d.cri, d.version, d.endpoint = service{"cri-docker", "cri-dockerd", "/usr/bin/cri-dockerd"}, "docker", "28.3.3", "unix:///run/cri-dockerd.sock"
		d.root, d.state, d.config, d.shims, d.runc, d.handlers = "/var/lib/docker", "", nil, "", "", nil
		d.flags = append(d.flags[:len(d.flags):len(d.flags)], "--container-runtime-endpoint=unix:///run/cri-dockerd.sock")
		d.others = []service{{"containerd", "containerd", "/usr/bin/containerd"}, {"docker", "dockerd", "/usr/bin/dockerd"}}
		d.change = func(o *v1alpha1.Observation) { o.Runtime.LastCNILoad, o.Runtime.CgroupDriver = "", "systemd" }
	}),
}

func crio(d *distribution) {
	d.runtime, d.cri, d.version, d.endpoint = service{"crio", "crio", "/usr/bin/crio"}, "cri-o", "1.33.4", "unix:///var/run/crio/crio.sock"
	d.root, d.state, d.config = "/var/lib/containers/storage", "/run/containers/storage", []string{"/etc/crio/crio.conf.d/10-crio.conf"}
	d.shims, d.runc, d.handlers = "", "", []string{"crun", "runc"}
}

// rancher: the supervisor's client certificates are not the kubelet's own, and its processes log to its unit.
func rancher(o *v1alpha1.Observation) {
	o.Certs[1].Path = o.Kubelet.CertDir[:len(o.Kubelet.CertDir)-len("/pki")] + "/client-kubelet.crt"
	o.Kubelet.Kubeconfig.ClientCert = o.Certs[1].Path
	o.Runtime.ConfigFile.ConfigPath = o.Runtime.ConfigFile.Path[:len(o.Runtime.ConfigFile.Path)-len("/config.toml")] + "/certs.d"
}

// healthy is a node of this distribution, with its own network where it has one.
func (d distribution) healthy(o *v1alpha1.Observation) {
	const kubeletPID, runtimePID = 1310, 1180
	since := detectorstest.Ago(6 * time.Hour)
	o.Host = v1alpha1.Host{Hostname: detectorstest.Node, Kernel: "6.8.0-79-generic", OS: d.os, Arch: "amd64", BootID: "b1", UptimeSeconds: 6.1 * 3600, CgroupVersion: 2,
		LSMs: []string{"lockdown", "capability"}, Virtualization: "kvm", CPUs: 8, MemoryBytes: 32 << 30, LoadAverage1: 1.9}
	o.Units, o.Processes = map[string]v1alpha1.Unit{}, nil
	add := func(s service, pid int) {
		if s.unit != "" && o.Units[s.unit].Name == "" {
			o.Units[s.unit] = v1alpha1.Unit{Name: s.unit, LoadState: "loaded", ActiveState: "active", SubState: "running", Result: "success", UnitFileState: "enabled",
				MainPID: pid, ActiveSince: since, StateSince: since, KillMode: "process", Fragment: "/usr/lib/systemd/system/" + s.unit + ".service", ExecStart: s.exe}
		}
		if s.process != "" {
			o.Processes = append(o.Processes, v1alpha1.Process{PID: pid, Name: s.process, Unit: s.unit, State: "S", Exe: s.exe, Threads: 24, OpenFiles: 160, MaxFiles: 1 << 20})
		}
	}
	add(d.kubelet, kubeletPID)
	add(d.runtime, runtimePID)
	for i, s := range d.others {
		add(s, 1400+i)
	}

	no := detectorstest.Ptr(false)
	config := v1alpha1.KubeletConfig{CgroupDriver: "systemd", FailSwapOn: detectorstest.Ptr(true), FailCgroupV1: no,
		EvictionHard:                     map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%"},
		EvictionPressureTransitionPeriod: "5m0s", ImageGCHighThresholdPercent: detectorstest.Ptr(int32(85)), RuntimeEndpoint: d.endpoint, NodeStatusUpdateFrequency: "10s",
		MaxPods: 110, RotateCertificates: detectorstest.Ptr(true)}
	k := &o.Kubelet
	k.Version, k.Config, k.File, k.ConfigFiles = "v1.33.4", config, config, d.files
	k.Unit, k.PID, k.Flags, k.CertDir = d.kubelet.unit, kubeletPID, append([]string{d.kubelet.exe}, d.flags...), d.certs
	k.Kubeconfig.Path, k.Kubeconfig.Server = d.kubeconfig, d.server
	k.Bootstrap = v1alpha1.Kubeconfig{}
	o.Certs[1].Path = d.certs + "/kubelet-client-current.pem"
	k.Kubeconfig.ClientCert = o.Certs[1].Path

	rt := &o.Runtime
	rt.Endpoint, rt.Name, rt.Version, rt.Unit, rt.PID, rt.Exe, rt.ConfigFiles = d.endpoint, d.cri, d.version, d.runtime.unit, runtimePID, d.runtime.exe, d.config
	rt.RootDir, rt.StateDir, rt.CLI, rt.Handlers, rt.DefaultHandler = d.root, d.state, nil, nil, ""
	if d.crictl != "" {
		rt.CLI = []string{d.crictl, "--runtime-endpoint", d.endpoint}
	}
	for _, h := range d.handlers {
		handler := v1alpha1.RuntimeHandler{Name: h}
		if d.shims != "" {
			handler.Type, handler.SystemdCgroup, handler.ShimPath, handler.RuntimePath = "io.containerd.runc.v2", detectorstest.Ptr(true), d.shims+"/containerd-shim-runc-v2", d.runc
		}
		rt.Handlers = append(rt.Handlers, handler)
		if rt.DefaultHandler == "" {
			rt.DefaultHandler = h
		}
	}
	rt.ConfigFile = v1alpha1.RuntimeConfigFile{}
	if d.cri == "containerd" {
		rt.ConfigFile = v1alpha1.RuntimeConfigFile{Path: d.config[0], ConfigPath: "/etc/containerd/certs.d", Handlers: rt.Handlers}
	} else {
		rt.LastCNILoad, rt.Snapshotter = "", ""
	}
	o.Clocks.ProcessOffsetSeconds = map[string]float64{"kubelet": 0.01}

	o.Filesystems = []v1alpha1.Filesystem{
		{Path: "/var/lib/kubelet", Mount: "/", Device: "/dev/nvme0n1p1", MajorMinor: "259:1", Type: "xfs", Bytes: 100 << 30, BytesFree: 61 << 30, Inodes: 50 << 20, InodesFree: 49 << 20, Roles: []string{"nodefs"}},
		{Path: d.root, Mount: "/", Device: "/dev/nvme0n1p1", MajorMinor: "259:1", Type: "xfs", Bytes: 100 << 30, BytesFree: 61 << 30, Inodes: 50 << 20, InodesFree: 49 << 20, Roles: []string{"imagefs"}},
	}
	o.CNI = v1alpha1.CNI{ConfDir: d.confDir, BinDirs: d.binDirs}
	o.Network = v1alpha1.Network{BridgeNFCallIPTables: "1", BridgeNFCallIP6Tables: "1", IPForward: "1", DefaultRoute: "10.0.0.1 dev ens5", Nameservers: []string{"127.0.0.53"}, Firewalls: []string{"kubernetes"}}
	o.API.Endpoints, o.API.ServerVersion = d.endpoints, "v1.33.4"
	o.API.Node.Status.NodeInfo = corev1.NodeSystemInfo{OSImage: d.os, KubeletVersion: "v1.33.4", ContainerRuntimeVersion: d.cri + "://" + d.version, Architecture: "amd64"}
	o.API.Pods, o.Runtime.Sandboxes, o.Runtime.Containers, o.Containers = nil, nil, nil, nil
	detectorstest.AddPod(o, detectorstest.Pod("kube-system", "kube-proxy-q9d4m", detectorstest.DaemonSet("kube-proxy"), detectorstest.HostNetwork, detectorstest.HostPath("/lib/modules")))
	detectorstest.AddPod(o, detectorstest.Pod("kube-system", "coredns-5d78c-8xk2p", detectorstest.Deployment("coredns")))
	detectorstest.AddPod(o, detectorstest.Pod("default", "app", detectorstest.Deployment("app")))
	if d.change != nil {
		d.change(o)
	}
}
