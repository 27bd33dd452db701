// Package nodetest is for tests of transports: an SSH server on loopback that runs commands on this machine.
package nodetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Host is the destination of the server in the ssh configuration that SSH puts in place.
const Host = "sickbay-test"

// Server is a running SSH server.
type Server struct {
	mu    sync.Mutex
	conns []net.Conn
	lines []string
	limit net.Listener
	as    *syscall.Credential
	home  string
}

// RunAs has commands run as another user from now on, which takes root.
func (s *Server) RunAs(uid, gid uint32, home string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.as, s.home = &syscall.Credential{Uid: uid, Gid: gid}, home
}

// SSH starts a server and has the program ssh reach it as user@sickbay-test, with a key and a known host of its own, until the test
// ends. It behaves as sshd does: the command is one line for a shell, it runs in a session of its own, and it goes on when the
// connection is gone. A machine without the program ssh skips the test.
func SSH(t testing.TB) *Server {
	t.Helper()
	client, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh program here")
	}
	dir := t.TempDir()
	hostSigner, _ := key(t)
	_, userKey := key(t)
	block, err := ssh.MarshalPrivateKey(userKey, "")
	if err != nil {
		t.Fatal(err)
	}
	userSigner, err := ssh.NewSignerFromKey(userKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	for name, content := range map[string]string{
		"id":          string(pem.EncodeToMemory(block)),
		"known_hosts": knownhosts.Line([]string{addr.String()}, hostSigner.PublicKey()) + "\n",
		"config": fmt.Sprintf("Host %s\n HostName 127.0.0.1\n Port %d\n IdentityFile %s/id\n IdentitiesOnly yes\n UserKnownHostsFile %s/known_hosts\n StrictHostKeyChecking yes\n",
			Host, addr.Port, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// ssh takes the home directory from the user database: only its own option leads it to another configuration.
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s -F %s/config \"$@\"\n", client, dir)
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))

	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(userSigner.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(hostSigner)
	s := &Server{limit: l}
	go s.accept(config)
	t.Cleanup(s.Close)
	return s
}

func key(t testing.TB) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, private
}

// Close stops the server and drops its connections.
func (s *Server) Close() {
	_ = s.limit.Close()
	s.Drop()
}

// Drop cuts all connections, as a network does.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// Lines are the command lines that were asked for.
func (s *Server) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

func (s *Server) accept(config *ssh.ServerConfig) {
	for {
		c, err := s.limit.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go func() {
			_, channels, requests, err := ssh.NewServerConn(c, config)
			if err != nil {
				_ = c.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			for ch := range channels {
				if ch.ChannelType() != "session" {
					_ = ch.Reject(ssh.UnknownChannelType, "only sessions")
					continue
				}
				if channel, requests, err := ch.Accept(); err == nil {
					go s.session(channel, requests)
				}
			}
		}()
	}
}

func (s *Server) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		if r.Type != "exec" {
			if r.WantReply {
				_ = r.Reply(r.Type == "env", nil)
			}
			continue
		}
		var ask struct{ Line string }
		if err := ssh.Unmarshal(r.Payload, &ask); err != nil {
			_ = r.Reply(false, nil)
			continue
		}
		s.mu.Lock()
		s.lines = append(s.lines, ask.Line)
		c := exec.Command("sh", "-c", ask.Line)
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.as}
		if s.home != "" {
			c.Dir, c.Env = s.home, []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH")}
		}
		s.mu.Unlock()
		_ = r.Reply(true, nil)
		go run(ch, c)
	}
}

func run(ch ssh.Channel, c *exec.Cmd) {
	defer ch.Close()
	c.Stdout, c.Stderr = ch, ch.Stderr()
	in, err := c.StdinPipe() // not c.Stdin: waiting for a client that never closes its end would keep the exit status back
	if err != nil {
		return
	}
	if err := c.Start(); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	}()
	status := uint32(0)
	if err := c.Wait(); err != nil {
		status = 255
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() >= 0 {
			status = uint32(exit.ExitCode())
		}
	}
	_ = ch.CloseWrite()
	_, _ = ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
}
