// Package suites runs scenarios through their seven steps and reports what it saw.
//
// A run never believes its own words: every step has a proof of its own.
//
//	baseline → inject → manifest → detect → remediate → clear → residue
//	   │          │         │         │          │         │        │
//	   └──────────┴─────────┴─ any failure or Ctrl-C ──────┴──→ recover, on a fresh context, bounded
//
// The package may know scenarios, injections (as data to hand to an agent), observations, the detectors' findings and
// how to apply a remedy; it reaches all of them through the Testbed interface, which package internal/testbed implements over a real cluster.
// Putting a fault on a node and waiting for its signals is package fault's, which knows nothing of detectors; those are asked blind,
// through package diagnose, which is never told the scenario or the injection.
//
// # Use
//
//	bed, err := testbed.New(ctx, cluster)            // a real cluster of ours as a Testbed
//	report, err := suites.Run(ctx, bed, scenario, suites.Options{ReportDir: dir})
//	report, err := suites.RunAll(ctx, bed, list, o)  // side by side, a worker each
//	os.Exit(suites.ExitCode(report, err))
//
//	pool, err := suites.OpenPool(ctx, bed)           // for runs begun one by one, side by side
//	report, err := pool.Run(ctx, scenario, o)
//	changes, err := pool.Close(ctx, suites.Timings{})
//
// Run and RunAll return a report whenever a run began, also together with an error. errors.Is(err, ErrInterrupted) tells
// a run that was interrupted and has recovered. ctx must end on the first Ctrl-C and not on the second; WithInterrupt
// gives such a context.
package suites
