// Package scenarios holds the scenario definitions, one folder each, and the loader that reads them strictly.
//
// It knows the vocabulary (package failures) and the names and parameter types of injectors, and nothing of detectors.
package scenarios
