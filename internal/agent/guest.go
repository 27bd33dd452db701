package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// block is what a guest's program is read in: its size is padded to whole ones, so that no byte that comes after it is read with it.
const block = 64 << 10

// otherMachine is the guest script's exit code on a machine of another architecture.
const otherMachine = 97

// guest takes the agent from standard input and becomes it, in one command. Its file has no name any more before it is copied, so that
// nothing stays however it ends; what was open for writing is not run, so it is opened anew. In memory it needs no disk that may be full,
// frozen or read-only; where nothing may be run from memory, or there is no room, it is $1. $2 are the machine's names for the agent's architecture, $3 its size in blocks, and the agent's arguments follow.
const guest = `case " $2 " in *" $(uname -m) "*) ;; *) exit 97 ;; esac
kept=$1; [ "$(id -u)" = 0 ] || kept=${XDG_CACHE_HOME:-$HOME/.cache}/sickbay
n=$3; shift 3
trap 'rm -f "$f"; rmdir "$kept" 2>/dev/null' EXIT
for d in /dev/shm "$kept" /run; do
  f=$d/agent-guest.sickbay-$$
  mkdir -p "$d" 2>/dev/null && printf '#!/bin/sh\n' 2>/dev/null >"$f" && chmod 0700 "$f" && "$f" 2>/dev/null || { rm -f "$f"; f=; continue; }
  free=$(df -Pk "$d" | { read -r _; read -r _ _ _ free _; echo "$free"; })
  [ "$((n * 64 + 1024))" -lt "${free:-0}" ] && break
  rm -f "$f"
  f=
done
[ -n "$f" ] && exec 3<>"$f" && rm -f "$f" && dd bs=65536 count="$n" iflag=fullblock 2>/dev/null >&3 && [ "$(wc -c </proc/self/fd/3)" -eq "$((n * 65536))" ] || { echo "there is no room for sickbay's agent in /dev/shm, $kept or /run" >&2; exit 98; }
rmdir "$kept" 2>/dev/null
exec 4</proc/self/fd/3 3>&-
exec /proc/self/fd/4 "$@"`

// Guest is the agent on a node that is somebody else's: it comes with each call, and nothing of it stays. On this machine nothing is copied.
func Guest(ctx context.Context, n node.Node) (*Client, error) {
	c := &Client{node: n}
	if err := c.pack(ctx, runtime.GOARCH); err != nil {
		return nil, fmt.Errorf("bring the agent to node %s: %w", n.Name(), err)
	}
	return c, nil
}

// pack makes ready the agent for an architecture; of the node's own where there is none for that.
func (c *Client) pack(ctx context.Context, arch string) error {
	bin, err := Binary(arch)
	if err != nil {
		if arch, err = c.node.Arch(ctx); err == nil {
			bin, err = Binary(arch)
		}
	}
	if err != nil {
		return err
	}
	if there, has := node.Program(c.node, bin); has {
		c.path = there
		return nil
	}
	b, err := os.ReadFile(bin)
	c.guest, c.machines = append(b, make([]byte, (block-len(b)%block)%block)...), node.Machines(arch)
	return err
}

// command runs the agent on the node, installed or as a guest. What it is asked on standard input comes behind the guest itself.
func (c *Client) command(stdin io.Reader, args ...string) node.Command {
	args = c.paced(args...)
	if c.guest == nil {
		return node.Command{Argv: append([]string{c.path}, args...), Stdin: stdin}
	}
	if stdin == nil {
		stdin = bytes.NewReader(nil)
	}
	return node.Command{
		Argv:  append([]string{"sh", "-c", guest, "sh", protocol.Dir, c.machines, strconv.Itoa(len(c.guest) / block)}, args...),
		Stdin: io.MultiReader(bytes.NewReader(c.guest), stdin),
	}
}
