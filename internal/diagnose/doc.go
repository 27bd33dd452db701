// Package diagnose looks at all nodes of a cluster at once and has the detectors judge what it saw.
//
// It may know observations, detectors and how to ask for both views of a node (the agent's and the API server's), through
// small interfaces it declares itself. It knows nothing of injectors, scenarios or suites: it works the same on a cluster
// that somebody else broke, and on a bundle recorded elsewhere.
//
//	look   → one Observation per node, in parallel, each node within its own bound
//	watch  → a History per node, baseline first, cursors kept between looks
//	judge  → a Diagnosis
//	bundle → the same histories as files, redacted, for offline judging
package diagnose
