// Package suites runs scenarios through their seven steps and reports what it saw.
//
// A run never believes its own words: every step has a proof of its own.
//
//	baseline → inject → manifest → detect → remediate → clear → residue
//	   │          │         │         │          │         │        │
//	   └──────────┴─────────┴─ any failure or Ctrl-C ──────┴──→ recover, on a fresh context, bounded
//
// The package may know scenarios, injections (as data to hand to an agent), observations, the detectors' findings and
// how to apply a remedy; it reaches all of them through the Lab interface, which package internal/testbed implements over a real cluster.
// Manifest matchers (package file match.go) read observations and know nothing of detectors; detectors are asked blind,
// through package diagnose, which is never told the scenario or the injection.
//
// # Use
//
//	lab, err := testbed.New(ctx, cluster)            // a real cluster of ours as a Lab
//	report, err := suites.Run(ctx, lab, scenario, suites.Options{ReportDir: dir})
//	report, err := suites.RunAll(ctx, lab, list, o)  // side by side, a worker each
//	os.Exit(suites.ExitCode(report, err))
//
//	ward, err := suites.OpenWard(ctx, lab)           // for runs begun one by one, side by side
//	report, err := ward.Run(ctx, scenario, o)
//	changes, err := ward.Close(ctx, suites.Timings{})
//
// Run and RunAll return a report whenever a run began, also together with an error. errors.Is(err, ErrInterrupted) tells
// a run that was interrupted and has recovered. ctx must end on the first Ctrl-C and not on the second; WithInterrupt
// gives such a context.
package suites
