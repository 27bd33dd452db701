package words

// The words with which the networks say that they have no address for a pod, known from
// public reports.
var (
	CalicoAssignedNone = calico.says("Assigned 0 out of ", Entry{File: "cni-plugin/pkg/ipamplugin/ipam_plugin.go: v4ia.PartialFulfillmentError",
		Sample: `plugin type="calico" failed (add): failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.99.9.0/29]`})
	CiliumNoMoreIPs = cilium.says("No more IPs available", Entry{File: "pkg/ipam/crd.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure  No more IPs available`})
	CiliumRangeIsFull = cilium.says("range is full", Entry{File: "pkg/ipam/service/ipallocator/allocator.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure  range is full`})
	CiliumPoolsExhausted = cilium.says("all pod CIDR ranges are exhausted", Entry{Since: "1.9", File: "pkg/ipam/multipool.go",
		Sample: `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure  Unable to allocate IP: all pod CIDR ranges are exhausted`})
	AWSNoAddress = awsCNI.says("failed to assign an IP address to container", Entry{Since: "1.0", File: "cmd/routed-eni-cni-plugin/cni.go",
		Sample: `plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container`})
	AzureNoAddress = azureCNI.says("No available addresses", Entry{File: "ipam/api.go",
		Sample: `plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to allocate address: No available addresses`})
	AzureCNSWaits = azureCNI.says("waiting on Azure CNS to allocate more", Entry{File: "cns/restserver/ipam.go",
		Sample: `AllocateIPConfig failed: not enough IPs available for 9c6a7f37-dd43-4f7c-a01f-1ff41653609c, waiting on Azure CNS to allocate more with NC Status: , IP config request is [IPConfigRequest: DesiredIPAddress ]`})
	SpiderpoolUsedOut = spiderpool.says("all IP addresses used out", Entry{File: "pkg/constant/errors.go",
		Sample: `plugin type="spiderpool" failed (add): failed to allocate IP addresses: all IP addresses used out`})
	WhereaboutsNoAddress = whereabouts.says("Could not allocate IP in range", Entry{File: "pkg/allocate/allocate.go",
		Sample: `error adding container to network "storage": error at storage engine: Could not allocate IP in range: ip: 172.16.0.1 / - 172.16.0.6 / range: net.IPNet{}`})
)

var (
	calico      = &Component{Name: "calico"}
	cilium      = &Component{Name: "cilium"}
	awsCNI      = &Component{Name: "amazon-vpc-cni-k8s"}
	azureCNI    = &Component{Name: "azure-container-networking"}
	spiderpool  = &Component{Name: "spiderpool"}
	whereabouts = &Component{Name: "whereabouts"}
)
