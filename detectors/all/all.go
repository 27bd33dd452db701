// Package all has all detectors. A line here registers one; a test compares them with the folders and the vocabulary.
package all

import (
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	_ "github.com/sickbay-dev/sickbay/detectors/cgroup-driver"
	_ "github.com/sickbay-dev/sickbay/detectors/clock-cert"
	_ "github.com/sickbay-dev/sickbay/detectors/cni"
	_ "github.com/sickbay-dev/sickbay/detectors/csi-mount"
	_ "github.com/sickbay-dev/sickbay/detectors/device-plugin"
	_ "github.com/sickbay-dev/sickbay/detectors/disk-pressure"
	_ "github.com/sickbay-dev/sickbay/detectors/image-pull"
	_ "github.com/sickbay-dev/sickbay/detectors/node-notready"
	_ "github.com/sickbay-dev/sickbay/detectors/oom-throttle"
	_ "github.com/sickbay-dev/sickbay/detectors/pleg"
	_ "github.com/sickbay-dev/sickbay/detectors/probe-kill"
	_ "github.com/sickbay-dev/sickbay/detectors/sandbox-changed"
	_ "github.com/sickbay-dev/sickbay/detectors/sandbox-create"
	_ "github.com/sickbay-dev/sickbay/detectors/security-denial"
	_ "github.com/sickbay-dev/sickbay/detectors/swap"
)

// Detectors returns one detector per failure, in the order of the vocabulary.
func Detectors() []detectors.Detector { return detectors.Registered() }

// Judge gives the findings of one node's history: reduced, and in the order in which their remedies have to be applied.
func Judge(h v1alpha1.History) []v1alpha1.Finding { return detectors.Judge(h, Detectors()) }
