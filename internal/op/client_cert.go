package op

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ClientCert gives the file in which a kubelet keeps client certificate and key another certificate of the same key.
//
// The kubelet reads it through a link, and whoever renews a certificate makes a new file and points the link at it. So what
// counts is where the link leads: an expired file that nothing points at any more is the rest of a cure, not the fault.
type ClientCert struct {
	Link   string `json:"link"`
	Signed []byte `json:"signed"` // PEM, without a key
	// File is what the link led to. Its content has the key in it: the journal has the checksum alone.
	File
	// LinkedTo is what the link said, empty where Link was the file itself.
	LinkedTo string `json:"linkedTo,omitempty"`
	// Before are the names that were beside it.
	Before []string `json:"before,omitempty"`
}

func (c *ClientCert) Touches() []string { return []string{path.Dir(c.Link)} }

func (c *ClientCert) Describe() string { return "replace the certificate in " + c.Link }

func (c *ClientCert) Save(ctx context.Context, env Env) error {
	target, said, err := LinkTarget(c.sys, c.Link)
	if err != nil {
		return err
	}
	c.File.Path, c.File.Rename, c.LinkedTo = target, true, said
	if c.Before, err = c.sys.List(path.Dir(c.Link)); err != nil {
		return err
	}
	if err := c.File.Save(ctx, env); err != nil {
		return err
	}
	if !c.Saved.Exists || c.Saved.Link != "" {
		return fmt.Errorf("%s does not lead to a file", c.Link)
	}
	return nil
}

// LinkTarget is the file that a path leads to over at most one link, and what the link says; empty for a path that is none.
func LinkTarget(files Files, p string) (target, said string, err error) {
	st, err := files.Stat(p)
	switch {
	case err != nil:
		return "", "", err
	case st.Mode&fs.ModeSymlink == 0:
		return p, "", nil
	case path.IsAbs(st.Link):
		return path.Clean(st.Link), st.Link, nil
	}
	return path.Join(path.Dir(p), st.Link), st.Link, nil
}

func (c *ClientCert) Do(ctx context.Context, env Env) error {
	text, err := c.sys.Read(c.File.Path)
	if err != nil {
		return err
	}
	data := append(bytes.TrimSpace(c.Signed), '\n')
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			data = append(data, pem.EncodeToMemory(block)...)
		}
	}
	c.Digest = &Digest{SHA256: Sum(data), Size: int64(len(data))}
	if err := env.Persist(); err != nil {
		return err
	}
	c.Data = data
	defer func() { c.Data = nil }()
	return c.File.Do(ctx, env)
}

// renewed tells that the link leads to another file now.
func (c *ClientCert) renewed() (bool, error) {
	if c.LinkedTo == "" {
		return false, nil
	}
	st, err := c.sys.Stat(c.Link)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && st.Link != c.LinkedTo, err
}

// added lists client certificates that somebody has put beside ours.
func (c *ClientCert) added() ([]string, error) {
	now, err := c.sys.List(path.Dir(c.Link))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(now, func(n string) bool {
		return !strings.HasPrefix(n, "kubelet-client-") || !strings.HasSuffix(n, ".pem") || slices.Contains(c.Before, n)
	}), nil
}

func (c *ClientCert) Pending(ctx context.Context, env Env) (Rest, error) {
	if c.Saved == nil {
		return Rest{}, nil
	}
	r, err := c.File.Pending(ctx, env)
	if err != nil {
		return r, err
	}
	renewed, err := c.renewed()
	if err != nil {
		return r, err
	}
	added, err := c.added()
	if err != nil {
		return r, err
	}
	if renewed || len(added) > 0 {
		if renewed {
			r.Todo = ""
		}
		r.Tidy = "the client certificate was renewed; it gets the one from before the injection, which is as good"
	}
	return r, nil
}

// The kubelet keeps the renewed certificate in memory, and finds its old one at its next start.
func (c *ClientCert) Undo(ctx context.Context, env Env) error {
	if c.Saved == nil {
		return nil
	}
	if err := c.File.Undo(ctx, env); err != nil {
		return err
	}
	renewed, err := c.renewed()
	if err != nil {
		return err
	}
	if renewed {
		tmp := tempName(c.Link)
		if err := unlessGone(c.sys.Remove(tmp)); err != nil {
			return err
		}
		if err := c.sys.Symlink(c.LinkedTo, tmp); err != nil {
			return err
		}
		if err := c.sys.Rename(tmp, c.Link); err != nil {
			return err
		}
	}
	added, err := c.added()
	if err != nil {
		return err
	}
	for _, n := range added {
		if err := unlessGone(c.sys.Remove(path.Join(path.Dir(c.Link), n))); err != nil {
			return err
		}
	}
	return nil
}
