package clockcert_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "clock-cert", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "kubelet's clock ten years ahead", Want: []string{"clock-cert/clock-skew"}, Remedy: "systemctl restart kubelet.service", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 10 * 365 * 86400
		o.API.Lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: detectorstest.Now.AddDate(10, 0, 0)}}}
	}},
	{Name: "kubelet's clock ahead, and it exits for its certificate", Want: []string{"clock-cert/clock-skew"}, Remedy: "systemctl restart kubelet.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 10 * 365 * 86400
	}},
	{Name: "the kubelet is started by way of another program, which moves its clock", Want: []string{"clock-cert/clock-skew"}, Remedy: "/opt/lab/launch", Never: []string{"systemctl disable"}, Ill: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 10 * 365 * 86400
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.ExecStart, u.DropIns = "/opt/lab/launch --quiet /usr/bin/kubelet $KUBELET_EXTRA_ARGS", []string{"/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/20-lab.conf"}
		})
		o.LocalUnits = append(o.LocalUnits, v1alpha1.Unit{Name: "phc2sys.service", ActiveState: "active", ExecStart: "/usr/sbin/phc2sys -s eth0 -c CLOCK_REALTIME -w"})
	}},
	{Name: "the node's clock behind", Want: []string{"clock-cert/clock-skew"}, Remedy: "timedatectl", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds, o.Clocks.Synchronized = -7200, false
	}},
	{Name: "the machine's clock ahead of its battery's, and the certificate ends in between", Want: []string{"clock-cert/clock-skew"}, Remedy: "hwclock --hctosys", Ill: wrongMachineClock},
	{Name: "the clock is right, the battery is empty and the certificate has ended", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "kubectl certificate approve", Ill: func(o *v1alpha1.Observation) {
		wrongMachineClock(o)
		o.API.SameKernel = false // its clock is another machine's, and agrees
	}},
	{Name: "the certificate has ended by either clock", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "kubectl certificate approve", Ill: func(o *v1alpha1.Observation) {
		wrongMachineClock(o)
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
	}},
	{Name: "client certificate expired", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "kubectl certificate approve", Ill: func(o *v1alpha1.Observation) {
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "client certificate expired under a kubelet", Want: []string{"clock-cert/client-cert-expired"}, Ill: func(o *v1alpha1.Observation) {
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="Unauthorized" node="lab-worker"`)
	}},
	{Name: "client certificate expired, a valid one beside it", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "ln -sfn -- /var/lib/kubelet/pki/kubelet-client-2026-11-01.pem", Ill: func(o *v1alpha1.Observation) {
		good := o.Certs[1]
		good.Path = "/var/lib/kubelet/pki/kubelet-client-2026-11-01.pem"
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
		o.Certs = append(o.Certs, good)
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	// https://github.com/kubernetes/kubernetes/issues/96256
	{Name: "client certificate expired under a kubelet, renewed on the disk", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "systemctl restart kubelet.service", Never: []string{"certificate approve"}, Says: "goes on with a client certificate that has ended", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SilentKubelet(o, activeExpired)
	}},
	{Name: "client certificate expired under a kubelet and on the disk", Want: []string{"clock-cert/client-cert-expired"}, Remedy: "certificate approve", Ill: func(o *v1alpha1.Observation) {
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
		detectorstest.SilentKubelet(o, activeExpired)
	}},
	// https://github.com/kubernetes/kubernetes/issues/99645
	{Name: "client certificate in the kubeconfig itself expired, the one that rotates is good", Want: []string{"clock-cert/client-cert-expired"}, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert = "inline"
		inline := o.Certs[1]
		inline.Path, inline.NotAfter = o.Kubelet.Kubeconfig.Path, detectorstest.Ago(time.Hour)
		o.Certs = append(o.Certs, inline)
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "two faults, conflist gone and client certificate expired", Want: []string{"clock-cert/client-cert-expired", "cni/conflist-missing"}, Remedy: "certificate", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		o.Certs[1].NotAfter = detectorstest.Ago(time.Hour)
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
		o.Runtime.Conditions[1] = v1alpha1.Condition{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: cni plugin not initialized"}
		o.Runtime.LastCNILoad = detectorstest.NoConfig
	}},
	{Name: "the node's clock behind, and a registry's certificate is not valid yet", Want: []string{"clock-cert/clock-skew"}, Remedy: "timedatectl", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds, o.Clocks.Synchronized = -7200, false
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:1", `failed to do request: Head "https://`+detectorstest.Registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T08:00:00Z is before 2026-11-24T09:00:00Z`)
	}},

	// phc2sys disciplines the node's clock on machines with a PTP clock.
	{Name: "kubelet's clock ahead, on a node whose services set clocks", Want: []string{"clock-cert/clock-skew"}, Never: []string{"phc2sys.service", "clock-sync.service"}, Ill: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 7200
		o.LocalUnits = []v1alpha1.Unit{{Name: "phc2sys.service", ActiveState: "active", ExecStart: "/usr/sbin/phc2sys -a -r -c CLOCK_REALTIME"}, {Name: "clock-sync.service", ActiveState: "active", ExecStart: "/usr/local/bin/clock-sync --server ntp.example.net"}}
	}},
	{Name: "the API server's clock is wrong, and the node's is disciplined", Want: []string{"clock-cert/clock-skew"}, Likely: true, Remedy: "-", Manual: "set the control plane's", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds, o.Clocks.Synchronized = 95, true
		o.API.ServerDate = detectorstest.Ago(95 * time.Second)
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: detectorstest.Ago(98 * time.Second)}
	}},
}

// activeExpired is what a kubelet says that holds a certificate which has ended.
const activeExpired = `E1111 00:15:53.851634   66610 transport.go:113] The currently active client certificate has expired, but the server is not responsive. A restart may be necessary to retrieve new initial credentials.`

var silent = []detectorstest.Case{
	{Name: "the hardware clock keeps another time", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.RTCOffsetKnown, o.Clocks.RTCOffsetSeconds, o.Clocks.Synchronized = true, -7200, false
		o.API.SameKernel = true
	}},
	{Name: "old certificates that are not in use", Ill: func(o *v1alpha1.Observation) {
		old := o.Certs[1]
		old.Path, old.NotAfter = "/var/lib/kubelet/pki/kubelet-client-2024-01-01.pem", detectorstest.Ago(24*time.Hour)
		o.Certs = append(o.Certs, old)
	}},
	{Name: "certificate file expired under a kubelet that reports", Ill: func(o *v1alpha1.Observation) { o.Certs[1].NotAfter = detectorstest.Ago(time.Hour) }},
	{Name: "a kubelet that was restarted for its certificate since", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(30 * time.Second) })
		detectorstest.Log(o, "kubelet", activeExpired, 40*time.Second)
	}},
	{Name: "clocks a few seconds apart", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds, o.Clocks.ProcessOffsetSeconds["kubelet"] = 3, -8
	}},
	{Name: "kubelet logs in another time zone, and its healthz is elsewhere", Ill: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds["kubelet"], o.Kubelet.Healthz, o.Kubelet.Environment.TZ = 5*3600+1800, "", "Asia/Kolkata"
	}},
}

// wrongMachineClock is a machine whose clock went a quarter of an hour ahead, past the end of the kubelet's certificate. The control
// plane is on the same machine.
func wrongMachineClock(o *v1alpha1.Observation) {
	o.Clocks.RTCOffsetKnown, o.Clocks.RTCOffsetSeconds, o.Clocks.Synchronized = true, 900, false
	o.API.SameKernel = true
	o.Certs[1].NotAfter = detectorstest.Ago(2 * time.Minute)
	detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
}
