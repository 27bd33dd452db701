package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
)

// stopGrace is how long running calls may take at the end: unmounting takes milliseconds, and the pod's own grace period ends
// what hangs.
const stopGrace = 2 * time.Second

// listen takes a unix socket.
func listen(socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	// Left by a process that was killed: nobody answers on it any more.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	log.Printf("listening on %s", socket)
	return l, nil
}

// serve answers until ctx ends, and takes the socket away.
func serve(ctx context.Context, l net.Listener, register func(*grpc.Server)) error {
	s := grpc.NewServer(grpc.UnaryInterceptor(logCalls))
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		kill := time.AfterFunc(stopGrace, s.Stop)
		s.GracefulStop() // closes the listener, which removes its socket
		kill.Stop()
		err = <-done
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

func logCalls(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	began := time.Now()
	resp, err := handle(ctx, req)
	if err != nil {
		log.Printf("%s failed after %s: %v", info.FullMethod, time.Since(began).Round(time.Millisecond), err)
	} else {
		log.Printf("%s in %s", info.FullMethod, time.Since(began).Round(time.Millisecond))
	}
	return resp, err
}
