//go:build !linux

package main

// fillHost has nothing to add: faults live in the engine's Linux machine, not in this one.
func fillHost(*hostFacts) {}
