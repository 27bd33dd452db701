//go:build linux

// sickbay-oci is an OCI runtime: runc without the capabilities this machine does not have. `sickbay-oci probe` reports what a
// container was granted. Everything is in package oci, whose initialisation already recognises the program's usual name.
package main

import (
	"os"

	"github.com/sickbay-dev/sickbay/internal/platform/engine/oci"
)

func main() { os.Exit(oci.Main(os.Args[1:])) }
