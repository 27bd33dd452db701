package injectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var kubeletFlags = Mechanism{
	Name: "kubelet-flags",
	Doc:  "adds flags to the kubelet's command line, where kubeadm keeps them, and restarts it",
	New:  func() Params { return &KubeletFlags{} },
}

// KubeletFlags are the parameters of kubelet-flags.
type KubeletFlags struct {
	// Add are flags with their values, such as --hostname-override=other; one that is there gets the new value.
	Add []string `json:"add"`
}

var flagForm = regexp.MustCompile(`^--[a-z0-9-]+(=[A-Za-z0-9_.,:/=-]*)?$`)

func (k *KubeletFlags) Validate() error {
	if len(k.Add) == 0 {
		return errors.New("add is empty: name flags, such as --hostname-override=other")
	}
	for _, f := range k.Add {
		if !flagForm.MatchString(f) {
			return fmt.Errorf("add %q: want --name or --name=value", f)
		}
	}
	return nil
}

const (
	kubeletFlagsFile = "/var/lib/kubelet/kubeadm-flags.env"
	kubeletFlagsKey  = "KUBELET_KUBEADM_ARGS="
)

func (k *KubeletFlags) Plan(_ context.Context, n Node) (*Plan, error) {
	text, err := n.Sys.Read(kubeletFlagsFile)
	if err != nil {
		return nil, kubeletFlags.unsupported(err.Error())
	}
	lines := bytes.Split(text, []byte("\n"))
	i := slices.IndexFunc(lines, func(l []byte) bool { return bytes.HasPrefix(l, []byte(kubeletFlagsKey)) })
	if i < 0 {
		return nil, kubeletFlags.unsupported(kubeletFlagsFile + " has no " + kubeletFlagsKey)
	}
	words := strings.Fields(strings.Trim(string(lines[i][len(kubeletFlagsKey):]), `"' `))
	for _, f := range k.Add {
		name, _, _ := strings.Cut(f, "=")
		words = slices.DeleteFunc(words, func(w string) bool { return w == name || strings.HasPrefix(w, name+"=") })
	}
	lines[i] = fmt.Appendf(nil, "%s%q", kubeletFlagsKey, strings.Join(append(words, k.Add...), " "))
	return &Plan{Ops: restarting(kubeletUnit, &op.File{Path: kubeletFlagsFile, Data: bytes.Join(lines, []byte("\n"))})}, nil
}
