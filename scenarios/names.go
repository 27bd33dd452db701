package scenarios

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// The document's types under their short names.
type (
	Action           = v1alpha1.Action
	Matcher          = v1alpha1.Matcher
	LogMatcher       = v1alpha1.LogMatcher
	EventMatcher     = v1alpha1.EventMatcher
	ConditionMatcher = v1alpha1.ConditionMatcher
	PodMatcher       = v1alpha1.PodMatcher
	UnitMatcher      = v1alpha1.UnitMatcher
	ThrottledMatcher = v1alpha1.ThrottledMatcher
	CgroupMatcher    = v1alpha1.CgroupMatcher
	Expected         = v1alpha1.Expected
	Timeouts         = v1alpha1.Timeouts
	Fidelity         = v1alpha1.Fidelity
	Registry         = v1alpha1.Registry
	Rollout          = v1alpha1.Rollout
	Duration         = v1alpha1.Duration
)

// The document's constants under their short names.
const (
	Decoy             = v1alpha1.ProfileDecoy
	OnEveryNode       = v1alpha1.OnEveryNode
	MechanismWorkload = v1alpha1.MechanismWorkload
)
