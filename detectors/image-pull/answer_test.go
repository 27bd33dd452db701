package imagepull

import (
	"fmt"
	"strings"
	"testing"
)

// %[1]s is the image.
const prefix = `Failed to pull image "%[1]s": rpc error: code = Unknown desc = failed to pull and unpack image "%[1]s": failed to resolve reference "%[1]s": `

var errorsOfPulls = []struct {
	text, cause string
	sure        bool
}{
	// containerd
	{prefix + `content digest sha256:0a1b2c3d4e5f: not found`, "", true},
	{`Failed to pull image "%[1]s": rpc error: code = Unknown desc = failed to pull and unpack image "%[1]s": failed to copy: httpReadSeeker: failed open: unexpected status code https://cdn.r.test/blobs/sha256/ab?X-Sig=x: 403 Forbidden`, authCause, false},
	{`Failed to pull image "%[1]s": rpc error: code = Unknown desc = failed to pull and unpack image "%[1]s": failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://cdn.r.test/blobs": dial tcp 203.0.113.7:443: connect: cannot assign requested address`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": read tcp 10.0.0.7:4711->203.0.113.7:443: read: connection reset by peer`, netCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1?ns=docker.io: 522 <none>`, netCause, true},
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": failed to copy: read tcp 10.0.0.7:4711->203.0.113.7:443: use of closed network connection`, netCause, true},
	// A page in place of a manifest or a layer: a proxy, a portal, a mirror's own error.
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": failed to unpack image on snapshotter overlayfs: unexpected media type text/html for sha256:0a: not found`, netCause, false},
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": unexpected media type application/json for sha256:0a: not found`, netCause, false},
	{`Failed to pull image "%[1]s": copying system image from manifest list: writing blob: decompressing: flate: corrupt input before offset 5`, netCause, false},
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": failed to copy: zstd: invalid input: magic number mismatch`, netCause, false},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": http2: client connection lost`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": stream error: stream ID 5; INTERNAL_ERROR; received from peer`, netCause, true},
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": failed to copy: http2: server sent GOAWAY and closed the connection; LastStreamID=9, ErrCode=NO_ERROR, debug=""`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": context deadline exceeded`, netCause, true},
	// No byte came for image_pull_progress_timeout: containerd cancels.
	{`Failed to pull image "%[1]s": rpc error: code = Canceled desc = failed to pull and unpack image "%[1]s": failed to copy: context canceled`, netCause, true},
	{`Failed to pull image "%[1]s": rpc error: code = Canceled desc = failed to pull and unpack image "%[1]s": context canceled`, netCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: reading blob sha256:0a: fetching blob: received unexpected HTTP status: 503 Service Unavailable`, netCause, true},
	{`Failed to pull image "%[1]s": Error response from daemon: Head "https://r.test/v2/a/manifests/1": no basic auth credentials`, authCause, true},
	// ECR, Artifact Registry, Harbor, GitLab
	{prefix + `failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://r.test/v2/token: 403 Forbidden`, authCause, false},
	{prefix + `failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r.test/v2/token?scope=x: 403 Forbidden`, authCause, false},
	{prefix + `denied: Your authorization token has expired. Reauthenticate and try again.`, authCause, true},
	{prefix + `denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/p/locations/l/repositories/r" (or it may not exist)`, authCause, false},
	{prefix + `unauthorized: unauthorized to access repository: library/a, action: pull: unauthorized to access repository: library/a, action: pull`, authCause, false},
	// CRI-O
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: pinging container registry r.test: Get "https://r.test/v2/": dial tcp: lookup r.test on 192.0.2.53:53: no such host`, netCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: reading manifest 1 in r.test/a: requested access to the resource is denied`, authCause, false},
	{`Failed to pull image "%[1]s": writing blob: storing blob to file "/var/tmp/storage1": write /var/tmp/storage1: no space left on device`, "", true},
	{`Failed to pull image "%[1]s": copying system image from manifest list: Source image rejected: A signature was required, but no signature exists`, "", true},
	{`Failed to pull image "%[1]s": choosing image instance: no image found in manifest list for architecture "arm64", variant "v8", OS "linux"`, tagCause, true},
	{`Failed to pull image "%[1]s": toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit`, authCause, false},
	{prefix + `%[1]s: not found`, tagCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": dial tcp 203.0.113.7:443: connect: connection refused`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": dial tcp: lookup unauthorized.test on 192.0.2.53:53: no such host`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": net/http: TLS handshake timeout`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": EOF`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": proxyconnect tcp: dial tcp 127.0.0.1:7890: connect: connection refused`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": proxyconnect tcp: tls: first record does not look like a TLS handshake`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": Proxy Authentication Required`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": Forbidden`, netCause, true}, // the proxy's
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 403 Forbidden`, authCause, false},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 401 Unauthorized`, authCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 404 Not Found`, tagCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 407 Proxy Authentication Required`, netCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 429 Too Many Requests`, authCause, false},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 500 Internal Server Error`, netCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 504 Gateway Time-out`, netCause, true},
	{prefix + `failed to authorize: failed to fetch anonymous token: Get "https://auth.r.test/token?scope=repository%%3Aa%%3Apull": dial tcp 203.0.113.9:443: i/o timeout`, netCause, true},
	{prefix + `failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.r.test/token?scope=x: 503 Service Unavailable`, netCause, true},
	{prefix + `failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.r.test/token: 401 Unauthorized`, authCause, true},
	{prefix + `failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r.test/service/token?scope=x: 404 Not Found`, authCause, false},
	{prefix + `failed to authorize: failed to fetch anonymous token: Get "https://auth.r.test/token": tls: failed to verify certificate: x509: certificate signed by unknown authority`, tlsCause, true},
	{prefix + `pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`, authCause, true},
	{prefix + `pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`, authCause, false},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": tls: failed to verify certificate: x509: certificate is valid for denied.test, not r.test`, tlsCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": http: server gave HTTP response to HTTPS client`, tlsCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": remote error: tls: handshake failure`, tlsCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": remote error: tls: certificate required`, authCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": remote error: tls: bad certificate`, authCause, true},
	{prefix + `no match for platform in manifest: not found`, tagCause, true},
	{prefix + `media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1, please rebuild the image`, tagCause, true},
	{prefix + `failed to copy: httpReadSeeker: failed open: content at https://r.test/v2/a/blobs/sha256:0a not found: not found`, tagCause, true},
	{prefix + `failed commit on ref "layer-sha256:0a": unexpected commit digest sha256:0b, expected sha256:0a: failed precondition`, netCause, false},
	{prefix + `failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/0a/data: no space left on device`, "", true},
	{prefix + `failed to extract layer sha256:0a: mount callback failed on /var/lib/containerd/tmpmounts/x: open /etc/denied: operation not permitted: unknown`, "", true},
	{`Failed to pull image "%[1]s": rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, "", true},
	{"(combined from similar events): " + prefix + `%[1]s: not found`, tagCause, true},
	// CRI-O
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: reading manifest 1 in r.test/a: manifest unknown: manifest unknown`, tagCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: reading manifest 1 in r.test/a: unauthorized: access to the requested resource is not authorized`, authCause, false},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: pinging container registry r.test: Get "https://r.test/v2/": dial tcp 203.0.113.7:443: connect: no route to host`, netCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: pinging container registry r.test: Get "https://r.test/v2/": x509: certificate signed by unknown authority`, tlsCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: pinging container registry r.test: StatusCode: 404, "<html>certificate timeout</html>"`, tagCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: Requesting bearer token: invalid status code from registry 503 (Service Unavailable)`, netCause, true},
	{`Failed to pull image "%[1]s": unable to retrieve auth token: invalid username/password: unauthorized: authentication required`, authCause, true},
	{`Failed to pull image "%[1]s": choosing an image from manifest list docker://%[1]s: no image found in image index for architecture "arm64", variant "v8", OS "linux"`, tagCause, true},
	{`Failed to pull image "%[1]s": copying system image from manifest list: writing blob: storing blob to file "/var/tmp/storage1/1": write /var/tmp/storage1/1: no space left on device`, "", true},
	{`Failed to pull image "%[1]s": short-name "%[1]s" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"`, tagCause, true},
	{`Failed to pull image "%[1]s": loading registries configuration "/etc/containers/registries.conf": toml: line 3`, mirrorCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: registry r.test is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d`, mirrorCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: registry r.test is blocked in one of /etc/containers/registries.conf, /etc/containers/registries.conf.d`, mirrorCause, true},
	{`Failed to pull image "%[1]s": short name mode is enforcing, but image name %[1]s returns ambiguous list`, tagCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: (Mirrors also failed: [mirror.test/a:1: pinging container registry mirror.test: Get "https://mirror.test/v2/": dial tcp 203.0.113.7:443: connect: connection refused]): %[1]s: reading manifest 1 in r.test/a: manifest unknown`, tagCause, true},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: (Mirrors also failed: [mirror.test/a:1: pinging container registry mirror.test: Get "https://mirror.test/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority]): %[1]s: pinging container registry r.test: Get "https://r.test/v2/": dial tcp 203.0.113.9:443: i/o timeout`, tlsCause, true},
	{"Failed to pull image \"%[1]s\": initializing source docker://%[1]s: (Mirrors also failed: [m1.test/a:1: reading manifest 1 in m1.test/a: manifest unknown]\n[m2.test/a:1: reading manifest 1 in m2.test/a: manifest unknown]): %[1]s: pinging container registry r.test: Get \"https://r.test/v2/\": dial tcp 203.0.113.9:443: i/o timeout", netCause, true},
	{`Failed to pull image "%[1]s": Source image rejected: A signature was required, but no signature exists`, "", true},
	// https://github.com/containerd/containerd/issues/10066; what a verifier quotes is its own trouble.
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": image verifier bindir blocked pull of %[1]s with digest sha256:c75a for reason: verifier cosign rejected image (exit code 1): Error: x509: certificate signed by unknown authority`, "", true},
	{`Failed to pull image "%[1]s": Source image rejected: None of the signatures were accepted, reasons: tls: failed to verify certificate: x509: certificate signed by unknown authority`, "", true},
	// A folder of the runtime's own.
	{`Failed to pull image "%[1]s": failed to pull and unpack image "%[1]s": failed to copy: open /var/lib/containerd/io.containerd.content.v1.content/ingest/0a/data: permission denied`, "", true},
	// https://github.com/goharbor/harbor/issues/19983, 13825
	{`Failed to pull image "%[1]s": Error response from daemon: unknown: current image with 4 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "Critical" or higher from running.' To continue with pull, please contact your project administrator`, authCause, true},
	{prefix + `unexpected status from GET request to https://r.test/v2/a/manifests/1: 412 Precondition Failed: {"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"current image without vulnerability scanning cannot be pulled"}]}`, authCause, true},
	// A proxy's refusal of CONNECT, and a mirror's redirects that lead nowhere.
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": Not Found`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": Method Not Allowed`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": 301 response missing Location header`, netCause, true},
	{prefix + `unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 307 Temporary Redirect`, netCause, true},
	{prefix + `failed to do request: Head "https://r.test/v2/a/manifests/1": stopped after 10 redirects`, netCause, true},
	// A page in place of JSON, or no HTTP at all.
	{prefix + `failed to authorize: failed to fetch anonymous token: unable to decode token response: invalid character '<' looking for beginning of value`, netCause, false},
	{prefix + `failed to authorize: failed to fetch anonymous token: Get "https://auth.r.test/token": net/http: HTTP/1.x transport connection broken: malformed HTTP response "x"`, netCause, false},
	// containers/image
	{`Failed to pull image "%[1]s": unable to pull image or OCI artifact: pull image err: initializing image from source docker://%[1]s: unsupported image-specific operation on artifact with type "application/vnd.cncf.helm.config.v1+json"`, tagCause, true},
	{`Failed to pull image "%[1]s": determining manifest MIME type for docker://%[1]s: Manifest does not match provided manifest digest sha256:0a`, netCause, false},
	{`Failed to pull image "%[1]s": initializing source docker://%[1]s: reading blob sha256:0a: fetching blob: blob unknown to registry`, tagCause, true},
	// cri-dockerd
	{`Failed to pull image "%[1]s": Error response from daemon: image with reference %[1]s was found but does not provide the specified platform (linux/arm64)`, tagCause, true},
	{`Failed to pull image "%[1]s": Error response from daemon: manifest for %[1]s not found: manifest unknown: manifest unknown`, tagCause, true},
	{`Failed to pull image "%[1]s": Error response from daemon: Get "https://r.test/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`, netCause, true},
	{`Failed to pull image "%[1]s": Error response from daemon: no matching manifest for linux/arm64/v8 in the manifest list entries`, tagCause, true},
	{`Failed to pull image "%[1]s": Error response from daemon: toomanyrequests: You have reached your pull rate limit.`, authCause, false},
	{`Failed to pull image "%[1]s": Error response from daemon: unauthorized: authentication required`, authCause, true},
}

// What an image, its registry or its tag is called never changes what is read.
func TestRead(t *testing.T) {
	var images []string
	for _, word := range []string{"certificate", "x509", "unauthorized", "timeout", "not-found", "tls", "denied", "mirror", "eof", "dial-tcp", "lookup", "429", "no-such-host"} {
		images = append(images, "r.test/"+word+":1", "r.test/a:"+word, word+".test/a:1", "r.test/team/"+word+"/"+word+"-exporter:1")
	}
	for _, s := range errorsOfPulls {
		for _, image := range append(images, "r.test/a:1", "r.test:5000/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef") {
			text := fmt.Sprintf(s.text, image)
			a := read(text, image)
			if a.cause != s.cause || (a.unsure == "") != s.sure {
				t.Errorf("%s\nread as %q (unsure: %q) by %s\n%s", text, a.cause, a.unsure, a.says, a.text)
			}
		}
	}
}

// Looking for a word first changes no answer.
func TestNeeds(t *testing.T) {
	known := 0
	for i, p := range compiled {
		if len(p.needs) > 0 {
			known++
		}
		for _, s := range errorsOfPulls {
			if text, _, _ := cut(fmt.Sprintf(s.text, "r.test/a:1"), "r.test/a:1"); p.in(text) != p.MatchString(text) {
				t.Errorf("%s\nneeds %q, of which none is in\n%s", readings[i].says, p.needs, text)
			}
		}
	}
	if known < len(compiled)/2 {
		t.Errorf("words are known of %d expressions only", known)
	}
}

// Where a registry hides what is missing, a refusal is no proof of a missing credential.
func TestHidesMissing(t *testing.T) {
	for image, sure := range map[string]bool{
		"quay.io/team/web:1": false, "ghcr.io/team/web:1": false, "eu.gcr.io/p/web:1": false, "europe-docker.pkg.dev/p/r/web:1": false, "nginx:1": false,
		"harbor.example.test/team/web:1": true, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1": true, "notquay.io/team/web:1": true,
	} {
		text := fmt.Sprintf(prefix, image) + "unexpected status from HEAD request to https://" + hostOf(image) + "/v2/web/manifests/1: 401 UNAUTHORIZED"
		if a := read(text, image); a.cause != authCause || (a.unsure == "") != sure {
			t.Errorf("%s: %q, unsure %q", image, a.cause, a.unsure)
		}
	}
}

func TestAsked(t *testing.T) {
	for text, want := range map[string]string{
		`failed to do request: Head "https://mirror.test/v2/a/manifests/1?ns=r.test": EOF`:                                                            "mirror.test",
		`unexpected status from HEAD request to https://r.test:5000/v2/token/manifests/1: 401 Unauthorized`:                                           "r.test:5000",
		`failed to fetch anonymous token: Get "https://auth.r.test/token?x=y": EOF`:                                                                   "auth.r.test token",
		`unexpected status from GET request to https://r.test/v2/auth?scope=x: 401`:                                                                   "r.test token",
		`unexpected status code https://r.test/v2/a: 429 Too Many Requests - Server message: https://help.test`:                                       "r.test",
		`initializing source docker://r.test/a:1: registry r.test is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d`: "",
		`initializing source docker://r.test/a:1: reading manifest 1 in r.test/a: manifest unknown`:                                                   "",
	} {
		_, asked, token := cut(text, "r.test/a:1")
		if got := strings.TrimSpace(asked + map[bool]string{true: " token"}[token]); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
