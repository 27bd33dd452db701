package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/process"
)

// state is what this machine knows of the guest that runs, in a file of its folder.
type state struct {
	// Of QEMU.
	process.ID

	Since     time.Time `json:"since"`
	Port      int       `json:"port"`
	CPUs      int       `json:"cpus"`
	MemoryMiB int       `json:"memoryMiB"`
	Choice    Choice    `json:"choice"`
	Image     string    `json:"image"` // the node image
	// Parts are the folders of the cache that the guest's disk rests on.
	Parts []string `json:"parts"`
	// Programs is the digest of the programs that the guest has.
	Programs string `json:"programs"`
}

func (s state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, stateFile), raw, 0o600); err != nil {
		return fmt.Errorf("write down the guest's state: %w", err)
	}
	return nil
}

// errNoGuest is the absence of a guest.
var errNoGuest = errors.New("no guest is up")

// load reads the state of the guest in a folder; errNoGuest when there is none.
func load(dir string) (state, error) {
	var s state
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, errNoGuest
	}
	if err != nil {
		return s, fmt.Errorf("read the guest's state: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("read the guest's state, %s: %w (`sickbay vm down` clears it away)", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

// strays are the QEMU processes with a file below a folder on their command line: what a start that was cut off may have left
// without having written it down.
func strays(dir string) []process.Process {
	return slices.DeleteFunc(process.All(), func(p process.Process) bool {
		return !p.Runs(qemu) || !strings.Contains(strings.Join(p.Args, " "), dir+"/")
	})
}
