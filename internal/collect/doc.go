// Package collect reads a Linux node and fills an v1alpha1.Observation.
//
// It knows where a node keeps things and in which formats; it knows nothing of faults, findings or injectors, and it
// changes nothing: no file is written, no process signalled, no configuration touched. No secret is taken: kubeconfigs are
// read without key and token, certificates without key, of the kubelet's and the runtime's environment only PATH, TZ and proxies are
// taken and no container's is opened, and every line of log passes package redact.
//
// A look must end in time while the node is broken. So
//
//   - sources run side by side, each with its own deadline; what did not answer becomes an v1alpha1.Unknown that says what
//     it was doing and for how long;
//   - everything runs in a child process ([Supervise]): a thread that waits in the kernel for a dead or frozen filesystem
//     cannot be killed, and a process with such a thread cannot exit. The child hands over its observation and is left
//     behind; the parent touches no file and always ends;
//   - a later look finds children left behind and keeps away from the filesystem they hang on, so that they do not pile up.
package collect
