// Package detectors judges observations: which failure a node has, from which cause, and the remedy that clears it.
//
// It may know the types and names of api, internal/causal, internal/facts, internal/words and internal/text, and nothing else of this
// project: no injector, no scenario, no transport. A test holds that. Data flows one way: observe → judge → remedy.
//
//	detectors/<failure>/   one failure: its detector with what it needs to have looked at, its page, its cases
//	detectors/all/         registers them by one line each; the recorded bundles
//	internal/causal/       what explains what, and what is treated first: folding and the order of remedies
//	internal/facts/        what detectors ask of an observation, always about now
//	internal/words/        what kubelet, runtimes, plugins and the kernel say, one table a component
//	internal/detectorstest runs a failure's cases
//
// A new failure is one new folder and one line in all: see CONTRIBUTING.md.
package detectors
