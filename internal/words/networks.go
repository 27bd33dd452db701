package words

// The words with which the networks say that they have no address for a pod, or that their daemon does not do its part, read in their
// newest source, and before that known from public reports.
var (
	CalicoAssignedNone = calico.says("Assigned 0 out of ", Entry{File: "libcalico-go/lib/ipam/ipam.go: PartialFulfillmentError",
		Sample: `plugin type="calico" failed (add): failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.99.9.0/29]`})
	CalicoBlockLimit = calico.says("cannot allocate new block due to per host block limit", Entry{File: "libcalico-go/lib/ipam/ipam.go: ErrBlockLimit",
		Sample: `plugin type="calico" failed (add): cannot allocate new block due to per host block limit`})
	CalicoNoPools = calico.says("no configured Calico pools", Entry{File: "libcalico-go/lib/ipam/ipam.go",
		Sample: `plugin type="calico" failed (add): no configured Calico pools for node worker-1`})
	CalicoNoPoolFits = calico.says("cannot find a qualified ippool", Entry{File: "libcalico-go/lib/ipam/ipam.go: ErrNoQualifiedPool",
		Sample: `plugin type="calico" failed (add): cannot find a qualified ippool`})
	CiliumNoMoreIPs = cilium.says("No more IPs available", Entry{File: "pkg/ipam/crd.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "No more IPs available"`})
	CiliumRangeIsFull = cilium.says("range is full", Entry{File: "pkg/ipam/service/ipallocator/allocator.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "range is full"`})
	CiliumPoolsExhausted = cilium.says("all pod CIDR ranges are exhausted", Entry{File: "pkg/ipam/pool.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "all pod CIDR ranges are exhausted"`})
	AWSNoAddress = awsCNI.says("failed to assign an IP address to container", Entry{Since: "1.0", File: "cmd/routed-eni-cni-plugin/cni.go",
		Sample: `plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container`})
	AzureNoAddress = azureCNI.says("No available addresses", Entry{File: "ipam/api.go",
		Sample: `plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to allocate address: No available addresses`})
	AzureNoPools = azureCNI.says("o available address pools", Entry{File: "ipam/api.go, with a small letter since its 1.4",
		Sample: `Failed to allocate pool: Failed to delegate: Failed to allocate pool: No available address pools`})
	AzureCNSWaits = azureCNI.says("waiting on Azure CNS to allocate more", Entry{File: "cns/restserver/ipam.go",
		Sample: `AllocateIPConfig failed: not enough IPs available for 9c6a7f37-dd43-4f7c-a01f-1ff41653609c, waiting on Azure CNS to allocate more with NC Status: , IP config request is [IPConfigRequest: DesiredIPAddress ]`})
	SpiderpoolUsedOut = spiderpool.says("all IP addresses used out", Entry{File: "pkg/constant/errors.go",
		Sample: `plugin type="spiderpool" failed (add): spiderpool IP allocation error: [POST /ipam/ip][500] postIpamIpFailure  failed to allocate IP addresses in standard mode: all IP addresses used out`})
	KubeOVNNoAddress = kubeOVN.says("no available ip for pod", Entry{Until: "1.2", File: "pkg/daemon/handler.go",
		Sample: "request ip return 500 no available ip for pod dxp/water-injector-sample-2-a-w-01-5f9cfb847f-h7lfx"})
	KubeOVNNotServed = kubeOVN.says("RPC failed; request ip return ", Entry{File: "cmd/cni/cni.go and pkg/request/cniserver.go",
		Sample: `plugin type="kube-ovn" failed (add): RPC failed; request ip return 500 configure nic failed: exit status 1`})
	KubeOVNNotAllocated = kubeOVN.says("no address allocated to pod", Entry{Since: "1.2", File: "pkg/daemon/handler.go",
		Sample: "no address allocated to pod tenant-a/web-0 provider ovn, please see kube-ovn-controller logs to find errors"})
	OVNExhausted = ovn.says("subnet address pool exhausted", Entry{File: "go-controller/pkg/allocator/ip/allocator.go: ErrFull",
		Sample: "failed to update pod namespace/pod: failed to ensure requested or annotated IPs [10.1.130.0/24] for namespace/nad/namespace/pod: subnet address pool exhausted"})
	OVNNotAnnotated = ovn.says("failed to get pod annotation: timed out", Entry{File: "go-controller/pkg/cni/cni.go, utils.go",
		Sample: "CNI request failed with status 400: '[default/web] failed to get pod annotation: timed out waiting for annotations: context deadline exceeded"})
	WhereaboutsNoAddress = whereabouts.says("Could not allocate IP in range", Entry{File: "pkg/allocate/allocate.go",
		Sample: `error adding container to network "storage": error at storage engine: Could not allocate IP in range: ip: 172.16.0.1 / - 172.16.0.6 / range: 172.16.0.0/29 / excludeRanges: []`})
	CalicoNotMade = calico.says("resource does not exist: ClusterInformation(default)", Entry{File: "libcalico-go/lib/errors/errors.go",
		Sample: `error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: clusterinformations.crd.projectcalico.org "default" not found`})
	CiliumNoEndpoint = cilium.says("unable to create endpoint: ", Entry{File: "plugins/cilium-cni/cmd/cmd.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to create endpoint: [PUT /endpoint/{id}][429] putEndpointIdTooManyRequests`})
	AWSNotAdded = awsCNI.says("Error received from AddNetwork gRPC call: ", Entry{File: "cmd/routed-eni-cni-plugin/cni.go",
		Sample: `add cmd: Error received from AddNetwork gRPC call: rpc error: code = DeadlineExceeded desc = context deadline exceeded`})
	AzureStoreLocked = azureCNI.says("timed out locking store", Entry{File: "store/store.go: ErrTimeoutLockingStore",
		Sample: `Failed to initialize key-value store of network plugin: timed out locking store`})
	OVNNotBound = ovn.says("timed out waiting for OVS port binding", Entry{File: "go-controller/pkg/cni/ovs.go",
		Sample: `CNI request failed with status 400: '[b/a a4b8] failed to configure pod interface: timed out waiting for OVS port binding (ovn-installed) for 0a:58:0a:80:00:2f [10.128.0.47/23]`})
	WhereaboutsNoLeader = whereabouts.says("waiting to become leader", Entry{File: "pkg/storage/kubernetes/ipam.go",
		Sample: `error at storage engine: time limit exceeded while waiting to become leader`})
)

var (
	calico      = &Component{Name: "calico"}
	cilium      = &Component{Name: "cilium"}
	awsCNI      = &Component{Name: "amazon-vpc-cni-k8s"}
	azureCNI    = &Component{Name: "azure-container-networking"}
	kubeOVN     = &Component{Name: "kube-ovn"}
	ovn         = &Component{Name: "ovn-kubernetes"}
	spiderpool  = &Component{Name: "spiderpool"}
	whereabouts = &Component{Name: "whereabouts"}
)
