package vm

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// The names of a guest's files in its folder on this machine.
const (
	keyFile     = "key"         // the private key that opens the guest
	knownFile   = "known_hosts" // the guest's own key
	payloadFile = "payload.tar" // what is handed in
	consoleFile = "console.log" // what the guest says while it boots
	overlayFile = "overlay.qcow2"
	stateFile   = "state.json"
	qemuLog     = "qemu.log"
)

// alias is the guest's name in its known_hosts: the port changes from boot to boot.
const alias = "sickbay-guest"

// keys are made for one boot of one guest: ours, which opens it, and its own, by which we know it.
type keys struct {
	client, host       []byte // private, PEM
	clientPub, hostPub []byte // authorized_keys lines
}

func newKeys() (keys, error) {
	var k keys
	for _, p := range []struct{ private, public *[]byte }{{&k.client, &k.clientPub}, {&k.host, &k.hostPub}} {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return k, fmt.Errorf("make a key: %w", err)
		}
		block, err := ssh.MarshalPrivateKey(private, alias)
		if err != nil {
			return k, fmt.Errorf("make a key: %w", err)
		}
		public, err := ssh.NewPublicKey(pub)
		if err != nil {
			return k, fmt.Errorf("make a key: %w", err)
		}
		*p.private, *p.public = pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(public)
	}
	return k, nil
}

// save leaves what it takes to reach the guest in its folder.
func (k keys) save(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, keyFile), k.client, 0o600),
		os.WriteFile(filepath.Join(dir, knownFile), append([]byte(alias+" "), k.hostPub...), 0o600),
	)
}
