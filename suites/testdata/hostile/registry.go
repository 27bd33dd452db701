// Command registry is a container registry in an attacker's hands: it serves a certificate that nobody signed, with a hostile name,
// and answers every request with words that a careless reader would run, print or keep.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log"
	"math/big"
	"net/http"
	"time"
)

func main() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	name := pkix.Name{CommonName: "x\x1b]0;owned\x07'$(touch /tmp/pwned-cert)'\n-----BEGIN"}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="x509: https://a$(touch$IFS$9/tmp/pwned-registry).localhost:5443 \x1b[2K"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	srv := &http.Server{Addr: ":5443", Handler: answer, ReadHeaderTimeout: time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go func() {
		time.Sleep(10 * time.Minute)
		srv.Close()
	}()
	log.Fatal(srv.ListenAndServeTLS("", ""))
}
