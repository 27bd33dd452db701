// Package v1alpha1 has the documents that sickbay reads and writes, as plain data: [Scenario], [Observation], [Bundle], [Diagnosis]
// with its [Finding], and [Report].
//
// The package knows nothing of how a node is read, what an observation means, or what was injected. Each document has apiVersion and
// kind. Times are RFC 3339. Every number has its unit in its name or comment; where a field comes from is said beside it.
//
// # Compatibility
//
// Within v1alpha1 a field may be added, and none is renamed, removed or given another meaning. A reader ignores fields that it does not
// know, except in a Scenario, which a person writes: there an unknown field is an error. A field that an older writer did not
// know is empty, which is not "zero was seen": see [Observation.Unreadable]. An incompatible change gets a new apiVersion, and the old
// one is read for two further releases. The names of failures and causes, of the seven steps, the verdicts and the exit codes are
// part of the contract. Field names are held by testdata/*.fields.
package v1alpha1
