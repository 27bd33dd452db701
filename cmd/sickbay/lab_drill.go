package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func (a *app) labDrill() *cobra.Command {
	var o labStarting
	var n int
	var sealed bool
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Start several labs, one after the other",
		Long: `Draw a sequence of labs and start the first; each stop starts the next. --sealed prints the hash of the sequence before the first one,
and salt and seed after the last: anybody can check that nothing was exchanged in between.`,
		Example: `  sickbay lab drill --seed 2026
  sickbay lab drill --count 5 --sealed`,
		Args: noArgs,
	}
	a.labStartFlags(cmd, &o)
	cmd.Flags().IntVar(&n, "count", 3, "how many labs")
	cmd.Flags().BoolVar(&sealed, "sealed", false, "print a salted hash of the sequence first")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if n < 2 || n > 10 {
			return usagef("--count %d: it must be 2 to 10", n)
		}
		if err := o.check(); err != nil {
			return err
		}
		all, err := scenarios.Courses()
		if err != nil {
			return err
		}
		seed := o.seed
		if !cmd.Flags().Changed("seed") {
			seed = rand.Uint64() //nolint:gosec // it draws labs
		}
		d, err := lab.NewDrill(all, lab.Filter{Level: o.level, Topic: o.topic, Core: true}, seed, n, sealed)
		if err != nil {
			return usagef("%s", err)
		}
		if sealed {
			fmt.Fprintf(a.out, "The seal of this drill is %s\n", d.Seal)
		}
		return a.drillOn(cmd.Context(), o, d)
	}
	return cmd
}

func (a *app) drillOn(ctx context.Context, o labStarting, d *lab.Drill) error {
	c, err := scenarios.FindCourse(d.Codes[d.At])
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Lab %d of %d.\n", d.At+1, len(d.Codes))
	return a.begin(ctx, o, []scenarios.Course{*c}, d)
}

// nextOfDrill forgets the lab that is over, and starts the next of its drill.
func (a *app) nextOfDrill(ctx context.Context, l *lesson) error {
	if err := l.store.Remove(l.st.Cluster); err != nil {
		return err
	}
	d := l.st.Drill
	if d == nil {
		return nil
	}
	d.At++
	if d.At < len(d.Codes) {
		o := labStarting{clusterOptions: clusterOptions{cluster: l.st.Cluster}, lease: l.st.Lease, language: l.language}
		return a.drillOn(ctx, o, d)
	}
	fmt.Fprintln(a.out, "That was the last lab of the drill. `sickbay lab progress` shows the scores.")
	if d.Seal != "" {
		fmt.Fprintf(a.out, "Its seal is the SHA-256 of \"SALT SEED CODES\": salt %s, seed %d, codes %s; seal %s\n", d.Salt, d.Seed, join(d.Codes), lab.Seal(d.Salt, d.Seed, d.Codes))
	}
	return nil
}

// debriefed is a debrief with the files it was written to.
type debriefed struct {
	lab.Debrief
	md, html string
}

// debrief scores the lab, puts it into the history, and writes the debrief.
func (l *lesson) debrief(now time.Time, dir string, residue []string) (*debriefed, error) {
	// While it was paused the clock stood.
	if l.st.Phase == lab.Paused {
		l.st.Resume(now)
	}
	score := lab.ScoreOf(l.st.Record, l.course.Of, residue)
	spec := l.course.Of.Spec
	if err := l.store.Append(lab.Done{
		Learner: l.st.Cluster, Code: spec.Code, Scenario: l.course.Metadata.Name, Topic: spec.Topic, Level: spec.Level, Ended: now.UTC(), Score: score, Record: l.st.Record,
	}); err != nil {
		return nil, err
	}
	if dir == "" {
		dir = filepath.Join(l.store.Dir, "debriefs")
	}
	d := &debriefed{Debrief: lab.NewDebrief(*l.course, l.language, l.st.Record, score)}
	var err error
	if d.md, d.html, err = d.Write(dir, l.st.Run); err != nil {
		return nil, fmt.Errorf("write the debrief: %w", err)
	}
	return d, nil
}

func (a *app) showDebrief(d *debriefed) {
	fmt.Fprintf(a.out, "%s\n\n", a.paint(bold, d.Title))
	for _, c := range d.Causes {
		fmt.Fprintf(a.out, "It was %s: sickbay explain %s\n", c, c)
	}
	solved := "not solved"
	if d.Score.Solved {
		solved = "solved in " + progress.Elapsed(d.Score.Mitigate)
	}
	for _, r := range d.Score.Residue {
		fmt.Fprintf(a.out, "Left behind: %s\n", r)
	}
	fmt.Fprintf(a.out, "%d points, %s, %s\nThe debrief: %s\n             %s\n", d.Score.Points, solved, hintsWord(d.Score.Hints), d.html, d.md)
}
