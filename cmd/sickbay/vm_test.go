package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
)

// TestVMCall: what sickbay is asked in the guest is what was asked here, less what is the guest's own.
func TestVMCall(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"pleg-disk", []string{"run", "pleg-disk", "--topology=small"}},
		{"pleg-disk swap-on --noop --cpus 4 --memory 6Gi --accel tcg --no-install --down --report /r --image node:1", []string{"run", "pleg-disk", "swap-on", "--noop=true", "--topology=small"}},
		{"--profile core --controls --parallel 2", []string{"suite", "--profile", "core", "--controls=all", "--parallel=2", "--topology=small"}},
		{"swap-on --topology default --timings stock -o json", []string{"run", "swap-on", "--output=json", "--timings=stock", "--topology=default"}},
		{"swap-on --cluster other", []string{"run", "swap-on", "--cluster=other"}},
		{"swap-on --lease 90s --node sickbay-worker", []string{"run", "swap-on", "--lease=1m30s", "--node=sickbay-worker", "--topology=small"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			a := newApp(nil, os.Stdout, os.Stderr)
			cmd, f, own := a.vmRunVerb()
			if err := cmd.ParseFlags(strings.Fields(c.line)); err != nil {
				t.Fatal(err)
			}
			got, _, err := vmCall(cmd.Flags(), own, cmd.Flags().Args(), f.profile)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

// TestVMCallFiles: a scenario of this machine's goes with all that stands beside it; one whose path is wrong boots nothing.
func TestVMCallFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../scenarios/bridge-netfilter-off")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "scenario.yaml"), filepath.Join(dir, "mine.yml")); err != nil {
		t.Fatal(err)
	}
	a := newApp(nil, os.Stdout, os.Stderr)
	cmd, _, own := a.vmRunVerb()
	got, files, err := vmCall(cmd.Flags(), own, []string{"swap-on", filepath.Join(dir, "mine.yml")}, "")
	if want := []string{"run", "swap-on", "bridge-netfilter-off/mine.yml", "--trust", "--topology=small"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if len(files) != 3 || len(files["bridge-netfilter-off/mine.yml"]) == 0 || len(files["bridge-netfilter-off/workload.yaml"]) == 0 {
		t.Errorf("files %q", slices.Sorted(maps.Keys(files)))
	}
	if _, _, err := vmCall(cmd.Flags(), own, []string{filepath.Join(dir, "scenario.yaml")}, ""); err == nil {
		t.Error("a path that leads nowhere was taken")
	}
}

func TestVMStatusWithoutGuest(t *testing.T) {
	code, stdout, _ := call(t, &fakeDeps{t: t}, "", "vm", "status", "-o", "json")
	if code != exitNo {
		t.Errorf("exit code %d, want %d", code, exitNo)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got["kind"] != "VirtualMachine" || got["state"] != "absent" || got["host"] != nil || got["choice"] != nil {
		t.Errorf("%s", stdout)
	}
	if cache, ok := got["cache"].(map[string]any); !ok || cache["parts"] == nil {
		t.Errorf("no list of disks: %s", stdout)
	}
	code, stdout, _ = call(t, &fakeDeps{t: t}, "", "vm", "status")
	if code != exitNo || !strings.Contains(stdout, "no guest is up; `sickbay vm up` boots one") {
		t.Errorf("%d: %s", code, stdout)
	}
	for _, line := range []string{"vm down", "vm prune", "vm prune --all"} {
		if code, _, stderr := call(t, &fakeDeps{t: t}, "", strings.Fields(line)...); code != exitYes {
			t.Errorf("%s where there is nothing: %d, %s", line, code, stderr)
		}
	}
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "vm", "shell"); code != exitTrouble || !strings.Contains(stderr, "`sickbay vm up` boots one") {
		t.Errorf("a shell without a guest: %d, %s", code, stderr)
	}
}

// TestDoctorTellsOfGuest: a guest whose process is gone is left behind.
func TestDoctorTellsOfGuest(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SICKBAY_CACHE", dir)
	x := &examination{}
	if x.guest(); len(x.Leftover)+len(x.Kept)+len(x.Unknown) != 0 {
		t.Errorf("without a guest: %+v", x)
	}
	if err := os.MkdirAll(filepath.Join(dir, "vm", "guest"), 0o700); err != nil {
		t.Fatal(err)
	}
	state := `{"pid": 4194303, "began": 1, "bootId": "another", "port": 40001}`
	if err := os.WriteFile(filepath.Join(dir, "vm", "guest", "state.json"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	if x.guest(); len(x.Leftover) != 1 || !strings.Contains(x.Leftover[0], "process 4194303 is gone") || !strings.Contains(x.Leftover[0], "sickbay vm down") {
		t.Errorf("%+v", x)
	}
}

func TestDoctorHost(t *testing.T) {
	code, stdout, _ := call(t, &fakeDeps{t: t}, "", "doctor", "--host", "-o", "json")
	var got hostExamination
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitYes || got.Kind != "Host" || got.Host.CPUs == 0 {
		t.Errorf("%d, %v: %s", code, err, stdout)
	}
}

// TestSavedImage: what the guest's engine can call an image, and what its disk is named by.
func TestSavedImage(t *testing.T) {
	for _, c := range []struct {
		resolved nodeimage.Resolved
		ref, key string
		saved    string // what is asked of the engine
	}{
		{nodeimage.Resolved{Ref: nodeimage.Repository + ":v1.37.2-0123", ID: "sha256:1"}, nodeimage.Repository + ":v1.37.2-0123", "", nodeimage.Repository + ":v1.37.2-0123"},
		{nodeimage.Resolved{Ref: "kindest/node:v1.37.0", ID: "sha256:2"}, "kindest/node:v1.37.0", "sha256:2", "kindest/node:v1.37.0"},
		{nodeimage.Resolved{Ref: "kindest/node:v1.37.0@sha256:abc", ID: "sha256:3"}, "kindest/node:v1.37.0", "sha256:3", "sha256:3"},
	} {
		client := filepath.Join(t.TempDir(), "docker")
		if err := os.WriteFile(client, []byte("#!/bin/sh\nprintf '%s ' \"$@\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		i := savedImage(&engine.Engine{Provider: "docker", CLI: client}, c.resolved)
		if i.Ref != c.ref || i.Key != c.key {
			t.Errorf("%s: %q %q, want %q %q", c.resolved.Ref, i.Ref, i.Key, c.ref, c.key)
		}
		var out strings.Builder
		if err := i.Write(t.Context(), &out); err != nil || out.String() != "save "+c.saved+" " {
			t.Errorf("%s: asks %q, %v", c.resolved.Ref, out.String(), err)
		}
	}
}

// TestGuestImageNamed: an image that was named is used or refused, never replaced.
func TestGuestImageNamed(t *testing.T) {
	none := &fakeDeps{t: t, decision: &engine.Decision{Plan: engine.StartPrivate, Reason: "none is there"}}
	a := newApp(nil, os.Stdout, os.Stderr)
	a.deps = none
	if _, err := a.guestImage(t.Context(), "mine:1", ""); err == nil || !strings.Contains(err.Error(), "mine:1") || !strings.Contains(err.Error(), "Without --image") {
		t.Errorf("%v", err)
	}
	var asked nodeimage.Request
	a.deps = &fakeDeps{t: t, decision: &engine.Decision{Plan: engine.UseExisting, Engine: theEngine}, image: func(r nodeimage.Request) (nodeimage.Resolved, error) {
		asked = r
		return nodeimage.Resolved{Ref: r.Image, ID: "sha256:1"}, nil
	}}
	if i, err := a.guestImage(t.Context(), "mine:1", "1.36"); err != nil || i.Ref != "mine:1" || asked.Version != "1.36" || !asked.NoBuild {
		t.Errorf("%+v, %+v, %v", i, asked, err)
	}
}

func TestGuestSuits(t *testing.T) {
	const has = "sickbay.dev/node:v1.37.2-0123"
	for _, c := range []struct {
		image, kubernetes string
		suits             bool
	}{
		{"", "", true}, {has, "", true}, {has + "@sha256:1", "", true}, {"kindest/node:v1.37.2", "", false},
		{"", "1.37", true}, {"", "v1.37.2", true}, {"", "1.36", false}, {"", "1.3", false}, {"", "v1.37.20", false},
	} {
		if err := (&vmFlags{image: c.image, kubernetes: c.kubernetes}).suits(has); (err == nil) != c.suits {
			t.Errorf("%q %q: %v", c.image, c.kubernetes, err)
		}
	}
}
