package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// drilling is what `lab drill` was asked for.
type drilling struct {
	labStarting
	count, atOnce  int
	sealed, decoys bool
	scored         scoringFlags
}

func (a *app) labDrill() *cobra.Command {
	var o drilling
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Start several labs, one after the other or two at once",
		Long: `Draw a sequence of labs and start the first; each stop starts the next. With --at-once 2 two workers are ill at a time, and --lab says
which one a command is about. --decoys has something odd that is no illness on another worker. --sealed prints the hash of the sequence
before the first one, and salt and seed after the last: anybody can check that nothing was exchanged in between.
--detector has a tool take the same drill, without a person: its times are listed beside those of people.`,
		Example: `  sickbay lab drill --seed 2026
  sickbay lab drill --count 4 --at-once 2 --decoys
  sickbay lab drill --count 5 --sealed
  sickbay lab drill --seed 2026 --detector exec:./my-detector,act`,
		Args: noArgs,
	}
	a.labStartFlags(cmd, &o.labStarting)
	cmd.Flags().IntVar(&o.count, "count", 3, "how many labs")
	cmd.Flags().IntVar(&o.atOnce, "at-once", 1, "how many workers are ill at a time: 1 or 2")
	cmd.Flags().BoolVar(&o.decoys, "decoys", false, "with something odd that is no illness")
	cmd.Flags().BoolVar(&o.sealed, "sealed", false, "print a salted hash of the sequence first")
	cmd.Flags().StringArrayVar(&o.scored.detectors, "detector", nil, "have this detector take the drill, as sickbay suite --detector has it (may be repeated)")
	o.scored.repeat = 1
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.count < 2 || o.count > 10 {
			return usagef("--count %d: it must be 2 to 10", o.count)
		}
		if o.atOnce < 1 || o.atOnce > 2 {
			return usagef("--at-once %d: it must be 1 or 2", o.atOnce)
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
		d, err := lab.NewDrill(all, lab.Filter{Level: o.level, Topic: o.topic, Core: true, Shared: o.atOnce > 1}, seed, o.count, o.sealed)
		if err != nil {
			return usagef("%s", err)
		}
		d.AtOnce, d.Decoys = o.atOnce, o.decoys
		if o.sealed {
			fmt.Fprintf(a.out, "The seal of this drill is %s\n", d.Seal)
		}
		if len(o.scored.detectors) > 0 {
			return a.toolsDrill(cmd.Context(), o, d)
		}
		return a.drillOn(cmd.Context(), o.labStarting, d)
	}
	return cmd
}

// drillOn starts what comes now.
func (a *app) drillOn(ctx context.Context, o labStarting, d *lab.Drill) error {
	for i, code := range d.Now() {
		c, err := scenarios.FindCourse(code)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "Lab %d of %d.\n", d.At+i+1, len(d.Codes))
		o.beside = i > 0
		if err := a.begin(ctx, o, []scenarios.Course{*c}, d); err != nil {
			return err
		}
	}
	if len(d.Now()) > 1 {
		fmt.Fprintf(a.out, "Two labs are on: --lab %s says which one a command is about.\n", strings.Join(d.Now(), " or --lab "))
	}
	if d.Decoys {
		if err := a.decoy(ctx, o.cluster, d); err != nil {
			progress.From(ctx).Note("this one has no decoy: %s", err)
		}
	}
	return nil
}

// decoy puts something odd on a free worker. It goes with the first lab, and is called as if it were one.
func (a *app) decoy(ctx context.Context, name string, d *lab.Drill) error {
	odd, code, err := decoyOf(d)
	if err != nil {
		return err
	}
	l, err := lessonOn(name, d.Now()[0])
	if err != nil {
		return err
	}
	c, err := a.ours(ctx, name)
	if err != nil {
		return err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return err
	}
	p, err := a.place(ctx, tb, c, odd, "", 0, code)
	if err != nil {
		return err
	}
	if err := l.store.Update(ctx, l.st, func(st *lab.State) { st.Decoys = append(st.Decoys, p.Run) }); err != nil {
		return errors.Join(err, p.end(ctx))
	}
	return p.leave(ctx, l.st.Lease)
}

// decoyOf draws the decoy for what comes now, and a code for it that no lab has.
func decoyOf(d *lab.Drill) (odd *scenarios.Scenario, code string, err error) {
	list, _, err := suites.Select(suites.Selection{Profile: "decoys"})
	if err != nil {
		return nil, "", err
	}
	n := d.Seed + uint64(d.At) //nolint:gosec // an index is not below zero
	return list[n%uint64(len(list))], fmt.Sprintf("L%d", 60+n%40), nil
}

// nextOfDrill forgets the lab that is over, and starts the next of its drill once no other is on.
func (a *app) nextOfDrill(ctx context.Context, l *lesson) error {
	if err := l.store.Remove(l.st); err != nil {
		return err
	}
	d := l.st.Drill
	if d == nil {
		return nil
	}
	if other, err := l.store.Load(lab.Key(l.st.Cluster, !l.st.Beside)); err == nil && other.Drill != nil {
		fmt.Fprintf(a.out, "Lab %s is still on.\n", other.Code)
		return nil
	}
	d.At += len(d.Now())
	if d.At < len(d.Codes) {
		o := labStarting{clusterOptions: clusterOptions{cluster: l.st.Cluster}, lease: l.st.Lease, language: l.language, record: l.st.Recorded}
		return a.drillOn(ctx, o, d)
	}
	all, err := l.store.History()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(x lab.Done) bool { return x.Drill != d.Seed || x.Learner != l.st.Cluster })
	points, detect, mitigate := lab.Summary(all[max(0, len(all)-len(d.Codes)):])
	fmt.Fprintf(a.out, "That was the last lab of the drill: %d of %d points; named after %s and solved after %s on average. `sickbay lab progress` shows them all.\n",
		points, 100*len(d.Codes), after(detect), after(mitigate))
	if d.Seal != "" {
		fmt.Fprintf(a.out, "Its seal is the SHA-256 of \"SALT SEED CODES\": salt %s, seed %d, codes %s; seal %s\n", d.Salt, d.Seed, join(d.Codes), lab.Seal(d.Salt, d.Seed, d.Codes))
	}
	return nil
}

// toolsDrill has detectors take a drill, and lists them where people are listed.
func (a *app) toolsDrill(ctx context.Context, o drilling, d *lab.Drill) error {
	byName := map[string]*scenarios.Course{}
	var list []*scenarios.Scenario
	for _, code := range d.Codes {
		c, err := scenarios.FindCourse(code)
		if err != nil {
			return err
		}
		byName[c.Metadata.Name], list = c, append(list, c.Scenario)
	}
	scored, err := o.scored.scoring(list)
	if err != nil {
		return err
	}
	store, err := labStore()
	if err != nil {
		return err
	}
	o.victim = o.node
	c, err := a.ready(ctx, o.clusterOptions)
	if err != nil {
		return err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return err
	}
	rep, err := a.deps.runAll(ctx, tb, list, suites.Options{Detectors: scored.detectors, Seed: d.Seed, Cleanups: a.cleanups, Victim: o.node, Parallel: o.atOnce, Version: version.String()})
	if err != nil {
		return err
	}
	board := map[string][]lab.Done{}
	for _, r := range rep.Results {
		for _, x := range r.Detectors {
			done := lab.OfTool(byName[r.Scenario], r, x)
			done.Drill = d.Seed
			board[done.Learner] = append(board[done.Learner], done)
			if err := store.Append(done); err != nil {
				return err
			}
		}
	}
	table(a.out, func(row func(...string)) {
		row("WHO", "POINTS", "NAMED", "SOLVED")
		for _, who := range slices.Sorted(maps.Keys(board)) {
			points, detect, mitigate := lab.Summary(board[who])
			row(who, fmt.Sprintf("%d of %d", points, 100*len(d.Codes)), after(detect), after(mitigate))
		}
	})
	fmt.Fprintf(a.out, "People take the same drill with `sickbay lab drill --seed %d --count %d`; `sickbay lab progress` shows all.\n", d.Seed, len(d.Codes))
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
	var drill uint64
	if l.st.Drill != nil {
		drill = l.st.Drill.Seed
	}
	if err := l.store.Append(lab.Done{
		Drill: drill, Learner: l.st.Cluster, Code: spec.Code, Scenario: l.course.Metadata.Name, Topic: spec.Topic, Level: spec.Level, Ended: now.UTC(), Score: score, Record: l.st.Record,
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
