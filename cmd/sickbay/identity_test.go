package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNodeAt(t *testing.T) {
	node := func(name, label, address, dns, provider string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: label}}, Spec: corev1.NodeSpec{ProviderID: provider},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeInternalDNS, Address: dns}}}}
	}
	nodes := []corev1.Node{
		node("ip-10-0-0-7.eu-west-1.compute.internal", "ip-10-0-0-7", "10.0.0.7", "ip-10-0-0-7.eu-west-1.compute.internal", "aws:///eu-west-1a/i-0abc"),
		node("w2", "rack-2", "10.0.0.8", "w2.example.com", "gce://p/z/w2"),
		node("w3", "rack-3", "fd00::3", "W3.example.com", ""),
		node("twin-a", "twin", "10.0.0.9", "", ""), node("twin-b", "twin", "10.0.0.9", "", ""),
	}
	for host, want := range map[string]string{
		"w2": "w2", "10.0.0.7": "ip-10-0-0-7.eu-west-1.compute.internal", "ip-10-0-0-7": "ip-10-0-0-7.eu-west-1.compute.internal",
		"i-0abc": "ip-10-0-0-7.eu-west-1.compute.internal", "rack-2": "w2", "w2.example.com": "w2", "w3.example.com": "w3", "w2.lan": "w2", "fd00::3": "w3",
		"10.0.0.9": "", "bastion": "", "10": "",
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
