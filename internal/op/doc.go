// Package op holds the reversible operations that injections are made of, one kind a file.
//
// An operation knows how to save what it will displace, to make one change, to measure whether the change is still there,
// and to take it back. It knows the node only through Sys, so that its whole life can be walked at random on a fake node.
// It knows nothing of mechanisms, leases or scenarios.
package op
