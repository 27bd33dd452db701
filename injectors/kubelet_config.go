package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var kubeletConfig = Mechanism{
	Name: "kubelet-config",
	Doc:  "merges values into the kubelet's configuration and restarts it",
	New:  func() Params { return &KubeletConfig{} },
}

// KubeletConfig are the parameters of kubelet-config.
type KubeletConfig struct {
	// Set is merged: objects key by key, everything else replaced, null removes.
	Set map[string]json.RawMessage `json:"set"`
}

func (k *KubeletConfig) Validate() error {
	if len(k.Set) == 0 {
		return errors.New("set is empty: name the fields of KubeletConfiguration to change")
	}
	return nil
}

func (k *KubeletConfig) Plan(_ context.Context, n Node) (*Plan, error) {
	if _, err := n.Sys.Stat(kubeletFile); err != nil {
		return nil, kubeletConfig.unsupported(err.Error())
	}
	m, err := kubeletMerge(k.Set)
	if err != nil {
		return nil, err
	}
	return &Plan{Ops: restarting(kubeletUnit, m)}, nil
}

func kubeletMerge(set map[string]json.RawMessage) (*op.Merge, error) {
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("kubelet configuration: %w", err)
	}
	return &op.Merge{File: op.File{Path: kubeletFile}, Set: raw}, nil
}

// restarting frames operations with the unit's stop and start, both ways.
func restarting(unit string, ops ...op.Op) []op.Op {
	out := append([]op.Op{op.PauseUnit(unit)}, ops...)
	return append(out, &op.Resume{Unit: unit})
}
