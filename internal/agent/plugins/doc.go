// Package plugins are the node plugins that scenarios run as pods: a CSI node driver with its registrar, and a device plugin.
//
// They speak the kubelet's real interfaces (CSI, plugin registration v1, device plugin v1beta1) and do real work: staging
// attaches a disk image to a loop device and mounts it. They are verbs of the agent, because a node has the agent and any
// image can run it, so no image of their own has to be built, pulled or preloaded.
//
// The package knows nothing of injectors, scenarios or detectors. What makes a plugin ill is done to it from outside, as on a
// real node; only devices, which no machine here has, take their state from files in the plugin's own root (DeviceStateDir).
package plugins

// Verbs of the agent.
const (
	VerbCSIDriver    = "csi-driver"
	VerbCSIRegistrar = "csi-registrar"
	VerbDevicePlugin = "device-plugin"
)

// DeviceStateDir is where the device plugin reads the state of its devices, within its own root.
const DeviceStateDir = "/run/devices"

// Files of DeviceStateDir.
const (
	// DeviceErrors names devices, one a line, that had an error. A plugin that starts anew resets them.
	DeviceErrors = "errors"
	// DeviceRefusal is why no device can be handed out.
	DeviceRefusal = "refusal"
)
