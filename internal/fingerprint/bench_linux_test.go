package fingerprint

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// BenchmarkFiles walks what a node's fingerprint walks, on this machine.
func BenchmarkFiles(b *testing.B) {
	for b.Loop() {
		f := New("n", time.Now())
		addFiles(f, volatileFile, nodeFiles...)
		b.ReportMetric(float64(len(f.Areas[Files])), "files")
	}
}

// BenchmarkRules reads what a node of some two hundred services has.
func BenchmarkRules(b *testing.B) {
	rules := kubeProxyRules(200)
	for b.Loop() {
		f := New("n", time.Now())
		addRuleLines(f, "iptables-save", rules, nodeRule)
	}
}

// kubeProxyRules are rules as kube-proxy writes them, with counters.
func kubeProxyRules(services int) []byte {
	var b bytes.Buffer
	b.WriteString("*nat\n:PREROUTING ACCEPT [12:720]\n:KUBE-SERVICES - [0:0]\n")
	for i := range services {
		fmt.Fprintf(&b, ":KUBE-SVC-%d - [0:0]\n-A KUBE-SERVICES -d 10.96.0.%d/32 -p tcp -m comment --comment \"default/s%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%d\n", i, i%250, i, i)
		for j := range 3 {
			fmt.Fprintf(&b, ":KUBE-SEP-%d-%d - [0:0]\n-A KUBE-SVC-%d -m comment --comment \"default/s%d:http -> 10.244.1.%d:8080\" -j KUBE-SEP-%d-%d\n-A KUBE-SEP-%d-%d -p tcp -m tcp -j DNAT --to-destination 10.244.1.%d:8080\n", i, j, i, i, j, i, j, i, j, j)
		}
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}
