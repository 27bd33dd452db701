// Package detectors judges observations: which failure a node has, from which cause, and the remedy that clears it.
//
// It may know package observation and package failures (the vocabulary) and nothing else of this project: no injector, no
// scenario, no transport. A test holds that. Data flows one way: observe → judge → remedy.
//
//	detectors/<failure>/   one detector: Judge, and the remedy of each cause
//	internal/facts/        what detectors ask of an observation, always about now
//	detectors/all/         the list, all.Judge, the table of cases and the recorded bundles
//
// Judge runs the detectors, Reduce folds consequences into the finding that explains them, and the order of the result is the order
// in which remedies have to be applied: both by the graph of internal/causal. A new failure is one new folder and one line in all.
package detectors
