// Package facts answers the questions detectors ask of observations: does the kubelet run, which pods cannot start, which
// log line is newest. Every answer is about now, the last look; what is over is no answer.
//
// It knows observations and API types, and nothing of findings' names.
package facts
