package op

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

// InGuest tells whether this machine is a guest that `sickbay vm` made: its clock and its disk are nobody else's.
func InGuest(files Files) (bool, error) {
	name, err := files.Read(hypervisor.VendorFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // no firmware names the machine
	}
	return err == nil && strings.TrimSpace(string(name)) == hypervisor.GuestVendor, err
}
