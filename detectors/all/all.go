// Package all lists the detectors of all fifteen failures. A test compares the list with the folders and the vocabulary.
package all

import (
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	cgroupdriver "github.com/sickbay-dev/sickbay/detectors/cgroup-driver"
	clockcert "github.com/sickbay-dev/sickbay/detectors/clock-cert"
	"github.com/sickbay-dev/sickbay/detectors/cni"
	csimount "github.com/sickbay-dev/sickbay/detectors/csi-mount"
	deviceplugin "github.com/sickbay-dev/sickbay/detectors/device-plugin"
	diskpressure "github.com/sickbay-dev/sickbay/detectors/disk-pressure"
	imagepull "github.com/sickbay-dev/sickbay/detectors/image-pull"
	notready "github.com/sickbay-dev/sickbay/detectors/node-notready"
	oomthrottle "github.com/sickbay-dev/sickbay/detectors/oom-throttle"
	"github.com/sickbay-dev/sickbay/detectors/pleg"
	probekill "github.com/sickbay-dev/sickbay/detectors/probe-kill"
	sandboxchanged "github.com/sickbay-dev/sickbay/detectors/sandbox-changed"
	sandboxcreate "github.com/sickbay-dev/sickbay/detectors/sandbox-create"
	securitydenial "github.com/sickbay-dev/sickbay/detectors/security-denial"
	"github.com/sickbay-dev/sickbay/detectors/swap"
)

// Detectors returns one detector per failure, in the order of the guide.
func Detectors() []detectors.Detector {
	return []detectors.Detector{
		imagepull.Detector{}, sandboxcreate.Detector{}, cgroupdriver.Detector{}, pleg.Detector{}, csimount.Detector{},
		notready.Detector{}, probekill.Detector{}, oomthrottle.Detector{}, cni.Detector{}, diskpressure.Detector{},
		securitydenial.Detector{}, clockcert.Detector{}, swap.Detector{}, deviceplugin.Detector{}, sandboxchanged.Detector{},
	}
}

// Judge gives the findings of one node's history: reduced, and in the order in which their remedies have to be applied.
func Judge(h v1alpha1.History) []v1alpha1.Finding {
	return detectors.Judge(h, Detectors())
}
