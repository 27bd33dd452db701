package remedy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiretry "k8s.io/client-go/util/retry"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// pki is where a kubeadm kubelet keeps its client certificate.
const pki = "/var/lib/kubelet/pki"

// makeRequest makes a key that stays on the node ($1 its file) and prints a request for the node's ($2) client certificate.
const makeRequest = `umask 077
openssl ecparam -name prime256v1 -genkey -noout -out "$1"
openssl req -new -key "$1" -subj "/O=system:nodes/CN=system:node:$2"`

// install puts the certificate from standard input and the key ($1) together as the kubelet itself does ($2), and forgets the key.
const install = `umask 077
t="$2.new"; trap 'rm -f "$t"' EXIT
cat >"$t"; cat "$1" >>"$t"
openssl x509 -in "$t" -noout -enddate
mv -f "$t" "$2"; ln -sfn "$2" "${2%/*}/kubelet-client-current.pem"; rm -f "$1"`

// renewClientCert makes the kubelet a new client certificate with the operator's own access to the API.
func (a *applier) renewClientCert(ctx context.Context, name string, out *output) (err error) {
	ctx, cancel := bound(ctx, a.o.Bounds.RenewCert)
	defer cancel()
	n, err := a.node(name)
	if err != nil {
		return err
	}
	stamp := time.Now().UTC().Format("2006-01-02-15-04-05")
	key := pki + "/.sickbay-" + stamp + ".key"
	defer func() {
		if err != nil {
			cleanup, cancel := bound(context.WithoutCancel(ctx), a.o.Bounds.Change)
			defer cancel()
			_, _ = n.Run(cleanup, node.Argv("rm", "-f", key))
		}
	}()
	request, err := n.Run(ctx, node.Argv("sh", "-ec", makeRequest, "sh", key, name))
	if err != nil {
		return fmt.Errorf("make a key and a certificate request: %w", err)
	}
	csrs := a.Kube.CertificatesV1().CertificateSigningRequests()
	csr, err := csrs.Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "sickbay-" + name + "-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    request,
			SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask for a certificate: %w", cause(ctx, err))
	}
	defer func() {
		cleanup, cancel := bound(context.WithoutCancel(ctx), a.o.Bounds.Change)
		defer cancel()
		_ = csrs.Delete(cleanup, csr.Name, metav1.DeleteOptions{}) // garbage-collected within the hour anyway
	}()
	// The cluster's own approver looks at every new request, too: it may write between our reading and writing, and where the
	// operator may do everything, it approves by itself.
	err = apiretry.RetryOnConflict(apiretry.DefaultBackoff, func() error {
		fresh, err := csrs.Get(ctx, csr.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(fresh.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Type == certificatesv1.CertificateApproved
		}) {
			return nil
		}
		fresh.Status.Conditions = append(fresh.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "SickbayRemedy",
			Message: "approved by the operator who carries out the remedy", LastUpdateTime: metav1.Now(),
		})
		_, err = csrs.UpdateApproval(ctx, csr.Name, fresh, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("approve the request %s: %w", csr.Name, cause(ctx, err))
	}
	for len(csr.Status.Certificate) == 0 {
		if retry.Sleep(ctx, poll) != nil {
			return fmt.Errorf("wait for the certificate of request %s: %w", csr.Name, context.Cause(ctx))
		}
		got, err := csrs.Get(ctx, csr.Name, metav1.GetOptions{})
		if err != nil {
			continue
		}
		for _, c := range got.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed || c.Type == certificatesv1.CertificateDenied {
				return fmt.Errorf("request %s was not signed: %s: %s", csr.Name, c.Type, c.Message)
			}
		}
		csr = got
	}
	end, err := n.Run(ctx, node.Command{
		Argv:  []string{"sh", "-ec", install, "sh", key, pki + "/kubelet-client-" + stamp + ".pem"},
		Stdin: bytes.NewReader(csr.Status.Certificate),
	})
	if err != nil {
		return fmt.Errorf("put the certificate in place: %w", err)
	}
	out.printf("kubelet-client-%s.pem %s\n", stamp, strings.TrimSpace(string(end)))
	return nil
}
