// Package injectors makes nodes ill and well again, one mechanism a file.
//
// A mechanism is a plain parameter struct that turns into reversible operations; the journal saves what each operation
// displaces before the first change, so that undo works from another process and from any half-way state. Package
// injectors runs on the node inside the agent; it knows nothing of detectors, scenarios or the Kubernetes API.
package injectors
