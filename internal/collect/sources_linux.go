package collect

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// Names of sources in Unknown.What beside those of package observation.
const (
	SourceHost        = "host"
	SourceKubeletFile = "kubelet.file"
	SourceKubeconfig  = "kubelet.kubeconfig"
	SourceRuntimeFile = "runtime.configFile"
	SourceProcesses   = v1alpha1.SourceProcesses
	SourceSwaps       = "swaps"
	SourceMounts      = "mounts"
	SourceSecurity    = "security"
	SourceFiles       = "files"
	SourceSockets     = "pluginSockets"
	SourceVersion     = "runtime.version"
	SourceRuntimeConf = "runtime.runtimeConfig"
	// SourceRuntimeClock is never unknown: see look.runtimeClock.
	SourceRuntimeClock = "runtime.clock"
)
