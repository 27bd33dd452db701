// sickbay makes nodes of a real kind cluster fall ill in known ways, and proves that detectors find each illness and that
// their remedies clear it.
//
// One file per verb. A verb parses, asks the packages, prints; what it needs from the machine comes from deps.go, so
// that tests can replace it.
package main

import (
	"context"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/suites"
)

func main() {
	// client-go logs what it returns as an error, too: once is enough, and in words that name the node.
	klog.SetLogger(logr.Discard())
	timeoutscale.MeasureWhenAsked()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	ctx, stop := suites.WithInterrupt(context.Background(), os.Stderr, a.cleanups)
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
