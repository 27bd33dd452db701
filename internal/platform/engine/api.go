package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// api speaks the few words of docker's HTTP API that are needed before a client is known to work.
type api struct {
	socket string
	client *http.Client
}

func socketAPI(socket string) api {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	return api{socket, &http.Client{Transport: transport}}
}

func (a api) get(ctx context.Context, path string, into any) error {
	return a.do(ctx, http.MethodGet, path, into)
}

// delete removes an object; one that is not there counts as removed.
func (a api) delete(ctx context.Context, path string) error {
	return a.do(ctx, http.MethodDelete, path, nil)
}

func (a api) do(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s at %s: %w", method, path, a.socket, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound && method == http.MethodDelete:
		return nil
	case resp.StatusCode >= 300:
		var problem struct{ Message string }
		_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&problem)
		return fmt.Errorf("%s %s at %s: %s: %s", method, path, a.socket, resp.Status, problem.Message)
	case into == nil:
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("%s %s at %s: %w", method, path, a.socket, err)
	}
	return nil
}
