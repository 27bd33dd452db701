package words

// The words of containernetworking/cni and its plugins, read in version v1.3.1 and v1.9.1.
var (
	FailedToFindPlugin = cni.says("failed to find plugin", Entry{File: "pkg/invoke/find.go",
		Sample: `9f2f1ab5344cc89cca86a970c250c09a2a6710cdfae5165005d4a4b": plugin type="ptp" failed (add): failed to find plugin "ptp" in path [/opt/cni/bin]`})
	IncompatibleVersions = cni.says("incompatible CNI versions", Entry{File: "pkg/version/reconcile.go",
		Sample: `Network plugin returns error: incompatible CNI versions; config is "1.2.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]`})
	NoIPAddresses = cni.says("no IP addresses available in range set", Entry{Since: "0.6", File: "plugins: plugins/ipam/host-local/backend/allocator/allocator.go",
		Sample: `plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`})
	FailedToLoadNetconf = cni.says("failed to load netconf", Entry{Since: "0.1", File: "plugins: plugins/main/bridge/bridge.go",
		Sample: `plugin type="bridge" failed (add): failed to load netconf: json: cannot unmarshal string into Go struct field NetConf.mtu of type int`})
	IPAMReturnedMissing = cni.says("IPAM plugin returned missing", Entry{Since: "0.1", File: "plugins: plugins/main/bridge/bridge.go",
		Sample: `plugin type="bridge" failed (add): IPAM plugin returned missing IP config`})
	NoIPRanges = cni.says("no IP ranges specified", Entry{Since: "0.7", File: "plugins: plugins/ipam/host-local/backend/allocator/config.go",
		Sample: `plugin type="bridge" failed (add): no IP ranges specified`})
	NoMaster = cni.says("failed to lookup master", Entry{File: "plugins: plugins/main/macvlan/macvlan.go",
		Sample: `error adding container to network "macvlan-conf": failed to lookup master "eth1": Link not found`})
)

var cni = &Component{Name: "cni", Version: "v1.3.1"}
