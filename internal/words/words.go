// Package words has the words of others that detectors look for: what kubelet, runtimes, plugins and the kernel say in logs, events
// and errors, one file a component. It knows no other package.
//
// An entry is one line: the text that is looked for, since and until which version of the component it is said where that is known,
// the file upstream that says it, and a line as it was seen. Tests hold that each sample has its text and that each entry is used.
package words

import (
	"fmt"
	"slices"
)

// Entry is one text of a component.
type Entry struct {
	Text string
	// Since is the first version that says it, Until the first that does not any more; empty where that is not known.
	Since, Until string
	// File is where upstream says it, in the component's own repository unless another is named before a colon.
	File string
	// Sample is a line in which it was seen.
	Sample string
}

// Component is a program with words of its own.
type Component struct {
	Name string
	// Version is the one whose source the entries were last compared with.
	Version string
	Entries []Entry
}

// says adds an entry and returns its text.
func (c *Component) says(text string, e Entry) string {
	if slices.ContainsFunc(c.Entries, func(o Entry) bool { return o.Text == text }) {
		panic(fmt.Sprintf("%s: %q is there twice", c.Name, text))
	}
	e.Text = text
	c.Entries = append(c.Entries, e)
	return text
}

// Components are all that have words here.
func Components() []*Component {
	return []*Component{kubelet, containerd, crio, runc, cni, golang, kernel, calico, cilium, awsCNI, azureCNI, kubeOVN, ovn, spiderpool, whereabouts, qemu}
}
