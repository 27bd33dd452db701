// Package detectors judges observations: which failure a node has, from which cause, and the remedy that clears it.
//
// It may know package observation and package failures (the vocabulary) and nothing else of this project: no injector, no
// scenario, no transport. A test holds that. Data flows one way: observe → judge → remedy.
package detectors
