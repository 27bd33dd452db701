package words

// The words of the Go standard library, in which kubelet, containerd and runc report errors, read in version 1.26.
var (
	CertificateNotValid = golang.says("certificate has expired or is not yet valid", Entry{File: "src/crypto/x509/verify.go",
		Sample: `tps://sickbay-control-plane:6443/api/v1/nodes\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2016-11-28T08:46:30Z is before 2026-11-26T08:07:06Z" node="sickbay-worker"`})
	UnknownAuthority = golang.says("certificate signed by unknown authority", Entry{File: "src/crypto/x509/verify.go",
		Sample: "x509: certificate signed by unknown authority (issuer CN=kubernetes)"})
	KeyDoesNotMatch = golang.says("private key does not match public key", Entry{File: "src/crypto/tls/tls.go",
		Sample: `failed to run Kubelet: could not convert data from "/var/lib/kubelet/pki/kubelet-client-current.pem" into cert/key pair: tls: private key does not match public key`})
	ExecutableFileNotFound = golang.says("executable file not found", Entry{File: "src/os/exec/lp_unix.go",
		Sample: ` to check mkfs.erofs availability: failed to run mkfs.erofs --help: exec: \"mkfs.erofs\": executable file not found in $PATH: skip plugin" id=io.containerd.differ.v1.erofs type=io.containerd.differ.v1`})
	UnknownRuntimeService = golang.says("unknown service runtime.v1.RuntimeService", Entry{File: "google.golang.org/grpc: server.go",
		Sample: `err="validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.sock\": rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService"`})
	NoSuchHost = golang.says("no such host", Entry{File: "src/net/net.go",
		Sample: `": dial tcp: lookup mirror.example.test on 10.0.0.1:53: no such host`})
	CertificateValidFor = golang.says("certificate is valid for", Entry{File: "src/crypto/x509/verify.go",
		Sample: "tls: failed to verify certificate: x509: certificate is valid for other.example.test, not registry.example.test"})
	NoIPSANs = golang.says("doesn't contain any IP SANs", Entry{File: "src/crypto/x509/verify.go",
		Sample: "tls: failed to verify certificate: x509: cannot validate certificate for 10.0.0.9 because it doesn't contain any IP SANs"})
	NotValidForAnyNames = golang.says("not valid for any names", Entry{File: "src/crypto/x509/verify.go",
		Sample: "x509: certificate is not valid for any names, but wanted to match registry.example.test"})
	CannotValidateFor = golang.says("cannot validate certificate for", Entry{File: "src/crypto/x509/verify.go",
		Sample: "x509: cannot validate certificate for 10.0.0.9 because it doesn't contain any IP SANs"})
	HTTPToHTTPS = golang.says("server gave HTTP response to HTTPS client", Entry{File: "src/net/http/client.go",
		Sample: "http: server gave HTTP response to HTTPS client"})
	NotATLSRecord = golang.says("first record does not look like a TLS", Entry{File: "src/crypto/tls/conn.go",
		Sample: "tls: first record does not look like a TLS handshake"})
	NoPEMData = golang.says("tls: failed to find any PEM data", Entry{File: "src/crypto/tls/tls.go",
		Sample: "tls: failed to find any PEM data in certificate input"})
)

var golang = &Component{Name: "golang", Version: "1.26"}
