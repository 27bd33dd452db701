package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/debugpod/podtest"
)

func TestNodeAt(t *testing.T) {
	node := func(name, label, address, dns, provider string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: label}}, Spec: corev1.NodeSpec{ProviderID: provider},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeInternalDNS, Address: dns}}}}
	}
	nodes := []corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "no-labels"}},
		node("ip-10-0-0-7.eu-west-1.compute.internal", "ip-10-0-0-7", "10.0.0.7", "ip-10-0-0-7.eu-west-1.compute.internal", "aws:///eu-west-1a/i-0abc"),
		node("w2", "rack-2", "10.0.0.8", "w2.example.com", "gce://p/z/w2"),
		node("w3", "rack-3", "fd00::3", "W3.example.com", ""),
		node("twin-a", "twin", "10.0.0.9", "", ""), node("twin-b", "twin", "10.0.0.9", "", ""),
	}
	for host, want := range map[string]string{
		"w2": "w2", "10.0.0.7": "ip-10-0-0-7.eu-west-1.compute.internal", "ip-10-0-0-7": "ip-10-0-0-7.eu-west-1.compute.internal",
		"i-0abc": "ip-10-0-0-7.eu-west-1.compute.internal", "rack-2": "w2", "w2.example.com": "w2", "w3.example.com": "w3", "w2.lan": "w2", "fd00::3": "w3",
		"10.0.0.9": "", "bastion": "", "10": "",
		"[fd00::3]": "w3", "FD00:0:0::3": "w3", "fd00::3%eth0": "w3", "::ffff:10.0.0.8": "w2", "[::FFFF:10.0.0.8]": "w2", "fd00::4": "",
		"W2": "w2", "Rack-2": "w2", "w2.": "w2", "W2.Example.COM.": "w2", "I-0ABC": "ip-10-0-0-7.eu-west-1.compute.internal", "10.0.0.8.": "w2",
		"": "", ".": "", ".lan": "", "[]": "", "w2 w3": "", " w2": "",
	} {
		if got, ok := nodeAt(host, nodes); ok != (want != "") || ok && got != want {
			t.Errorf("%s is %q (%t), want %q", host, got, ok, want)
		}
	}
}

func TestSSHName(t *testing.T) {
	for in, want := range map[string][3]string{
		"root@10.0.0.7":           {"10.0.0.7", "root@10.0.0.7", ""},
		"w1":                      {"w1", "w1", ""},
		"lab=root@10.0.0.7":       {"lab", "root@10.0.0.7", "given"},
		"ssh://root@w1:2222":      {"w1", "ssh://root@w1:2222", ""},
		"ssh://root@[fd00::3]:22": {"fd00::3", "ssh://root@[fd00::3]:22", ""},
		"root@":                   {"", "root@", ""},
	} {
		name, dest, given := sshName(in)
		if name != want[0] || dest != want[1] || given != (want[2] != "") {
			t.Errorf("%s: %q %q %t", in, name, dest, given)
		}
	}
	for _, empty := range []string{"", "root@", "=root@w1", "w1="} {
		if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--ssh", empty); code != exitUsage || !strings.Contains(stderr, "--ssh") {
			t.Errorf("--ssh %q: exit code %d, %s", empty, code, stderr)
		}
	}
}

// TestNodesByOtherNames: a node is found by any way to write its name, and by its address where the API server tells it.
func TestNodesByOtherNames(t *testing.T) {
	const bundle = "../../detectors/all/testdata/recorded/swap-on"
	for _, name := range []string{"sickbay-worker", "Sickbay-Worker", "sickbay-worker."} {
		if code, out, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", bundle, name); code != exitNo || !strings.Contains(out, "sickbay-worker") {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
	}
	for _, where := range [][]string{{"--bundle", bundle}, {"--local"}, {"--ssh", "root@w1"}, {"--cluster", "dev"}} {
		for name, want := range map[string]string{"": "the name of a node is empty", ".": "the name of a node is empty", "w1 w2": `"w1 w2" is no node's name`} {
			if code, _, stderr := call(t, &fakeDeps{t: t}, "", append([]string{"diagnose", name}, where...)...); code != exitUsage || !strings.Contains(stderr, want) {
				t.Errorf("%q of %s: exit code %d\n%s", name, where, code, stderr)
			}
		}
	}
	n1, n2 := podtest.Node("n1"), podtest.Node("n2")
	n1.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "fd00::1"}, {Type: corev1.NodeHostName, Address: "n1.example.com"}}
	a := podtest.Serve(t, n1, n2)
	for _, name := range []string{"n1", "N1", "n1.", "[FD00::1]", "n1.example.com"} {
		_, out, stderr := call(t, away{&fakeDeps{t: t}}, "", "diagnose", name, "--context", "away", "--kubeconfig", a.Kubeconfig, "-o", "json")
		var d v1alpha1.Diagnosis
		if err := json.Unmarshal([]byte(out), &d); err != nil || !slices.Equal(d.Nodes, []string{"n1"}) {
			t.Errorf("%s: %v, %v\n%s", name, err, d.Nodes, stderr)
		}
	}
}

// TestNamesThatAreGiven: what is said to be a node's name has to be one.
func TestNamesThatAreGiven(t *testing.T) {
	for in, want := range map[string]string{"w1": "w1", "W1.": "w1", "ip-10.eu.internal": "ip-10.eu.internal", "10.0.0.7": "10.0.0.7", "../w1": "", "w_1": "", "fd00::1": "", "": "", "w 1": ""} {
		if got, err := nodeName("--node", in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for args, want := range map[string]string{
		"--local --node ../w1":      `--node "../w1" is no node's name`,
		"--ssh my_node=root@w1":     `--ssh "my_node" is no node's name`,
		"--ssh root@10.0.0.7:2222":  "--ssh root@10.0.0.7:2222: a port is given as ssh://root@10.0.0.7:2222",
		"--ssh w1=root@w1.lan:2222": "a port is given as ssh://root@w1.lan:2222",
	} {
		if code, _, stderr := call(t, &fakeDeps{t: t}, "", append([]string{"diagnose"}, strings.Split(args, " ")...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d\n%s", args, code, stderr)
		}
	}
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--ssh", "w1 -p 22"); code != exitUsage || !strings.Contains(stderr, `--ssh "w1 -p 22": it is no host`) {
		t.Errorf("a host with options: exit code %d\n%s", code, stderr)
	}
	for dest, port := range map[string]bool{"root@fd00::3": false, "fd00::3:22": false, "ssh://root@w1:22": false, "[fd00::3]": false, "w1": false, "w1:22": true} {
		if withPort.MatchString(dest) != port {
			t.Errorf("%s: %t", dest, !port)
		}
	}
}
