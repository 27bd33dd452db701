package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/lab/web"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func (a *app) labServe() *cobra.Command {
	var names, hosts []string
	var listen string
	var lease time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve labs as web pages, with terminals: one page a learner, and one for who teaches",
		Long: `Serve a page for each cluster's learner, with the ticket, the symptoms, terminals, hints and the referee, and a page from which faults
are started for one or all. It prints a link for each; whoever has a link has a root shell on its cluster's nodes. Only this machine can
reach the pages unless --listen and --host say otherwise.`,
		Example: `  sickbay lab serve
  sickbay lab serve --cluster one --cluster two
  sickbay lab serve --listen :8010 --host lab.example.com   # behind a proxy that speaks TLS`,
		Args: noArgs,
	}
	cmd.Flags().StringSliceVar(&names, "cluster", []string{defaultCluster}, "clusters, one for each learner")
	_ = cmd.RegisterFlagCompletionFunc("cluster", a.completeClusters)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8010", "address and port")
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "names that the pages are asked for by, besides the address; with a port where it is another one")
	cmd.Flags().DurationVar(&lease, "for", 2*time.Hour, "a node heals itself when nobody came back for this time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o := labStarting{lease: lease, language: "en"}
		for i, n := range names {
			o.cluster = n
			if err := o.check(); err != nil {
				return err
			}
			if slices.Contains(names[:i], n) {
				return usagef("--cluster %s is there twice: each learner has a cluster of their own", n)
			}
		}
		return a.serve(cmd.Context(), o, names, listen, hosts)
	}
	return cmd
}

// serve serves until it is interrupted. Labs go on after it.
func (a *app) serve(ctx context.Context, o labStarting, names []string, listen string, hosts []string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usagef("--listen %q: it must be ADDRESS:PORT", listen)
	}
	ip := net.ParseIP(host)
	if beyond := host != "localhost" && (ip == nil || !ip.IsLoopback()); beyond && len(hosts) == 0 {
		return &usageError{text: fmt.Sprintf("--listen %s is not only this machine", listen), hint: "Add --host NAME, by which the pages are asked for, and have a proxy that speaks TLS before them: a link is a root shell."}
	}
	options, err := classOf(a, o, names)
	if err != nil {
		return err
	}
	at, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return hint(err, "`sickbay lab serve --listen 127.0.0.1:0` takes any free port.")
	}
	_, port, _ := net.SplitHostPort(at.Addr().String())
	options.Hosts = hostsAt(at.Addr().String(), port, hosts)
	base := "http://" + options.Hosts[0]
	if _, _, err := net.SplitHostPort(options.Hosts[0]); err != nil {
		base = "https://" + options.Hosts[0] // by the proxy
	}
	s := web.New(ctx, options)
	for i, link := range s.Links() {
		if i == 0 {
			fmt.Fprintf(a.out, "%-20s %s%s\n", "teach", base, link.Path)
			continue
		}
		fmt.Fprintf(a.out, "%-20s %s%s\n", "learn on "+link.Who, base, link.Path)
	}
	fmt.Fprintln(a.out, "Ctrl-C ends the pages and their terminals. Labs go on: `sickbay lab stop --cluster NAME` ends one.")
	server := s.Serve()
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	err = server.Serve(at)
	s.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// hostsAt are the names that a server at an address answers to, the one that links have first.
func hostsAt(addr, port string, more []string) []string {
	var out []string
	for _, h := range more {
		h = strings.ToLower(h)
		out = append(out, h)
		if _, _, err := net.SplitHostPort(h); err != nil {
			out = append(out, net.JoinHostPort(strings.Trim(h, "[]"), port))
		}
	}
	out = append(out, addr)
	for _, h := range []string{"127.0.0.1", "localhost", "::1"} {
		out = append(out, net.JoinHostPort(h, port))
	}
	return out
}

func classOf(a *app, o labStarting, names []string) (web.Options, error) {
	var out web.Options
	all, err := scenarios.Courses()
	if err != nil {
		return out, err
	}
	for _, c := range all {
		l := c.Of.Spec
		out.Labs = append(out.Labs, web.Listed{Code: l.Code, Topic: l.Topic, Level: l.Level, Minutes: l.Minutes})
	}
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			out.Names = append(out.Names, f.Name+"/"+c.Name)
		}
	}
	for _, n := range names {
		o.cluster = n
		out.Seats = append(out.Seats, web.Seat{Name: n, Desk: &desk{a: a, o: o}})
	}
	return out, nil
}

// desk is a cluster's lab for the pages: the verbs, without a terminal.
type desk struct {
	a *app
	o labStarting

	mu     sync.Mutex
	found  *cluster.Cluster
	forget context.CancelFunc // ends the look at what the detectors know
}

// plain is an error as a page shows it, with the way out.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(message(err), "sickbay: "))
}

// cluster is the desk's; that it is there is asked once a lab.
func (d *desk) cluster(ctx context.Context) (*cluster.Cluster, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return d.found, nil
	}
	c, err := d.a.ours(ctx, d.o.cluster)
	if err == nil {
		d.found = c
	}
	return c, err
}

// lesson is the lab on the cluster; nil where there is none.
func (d *desk) lesson() (*lesson, error) {
	store, err := labStore()
	if err != nil {
		return nil, err
	}
	if _, err := store.Load(d.o.cluster); errors.Is(err, lab.ErrNone) {
		return nil, nil
	}
	return lessonOn(d.o.cluster, "")
}

func (d *desk) Lab(ctx context.Context) (*web.Lab, error) {
	l, err := d.lesson()
	if l == nil || err != nil {
		return nil, plain(err)
	}
	s := l.course.Of.Spec
	out := &web.Lab{
		Code: s.Code, Topic: s.Topic, Level: s.Level, Minutes: s.Minutes, Page: s.Page, Story: s.Story, Phase: l.st.Phase, Rungs: len(s.Hints), Answers: l.st.Answers,
	}
	if !l.st.Started.IsZero() {
		out.Seconds = int(l.st.Clock(time.Now()).Seconds())
		out.Left = lab.Missing(l.st.Answers, l.course.Spec.Expect)
	}
	for _, h := range s.Hints[:min(l.st.Hints, len(s.Hints))] {
		out.Hints = append(out.Hints, h.Says)
	}
	if err := l.under(); err != nil {
		out.Over = plain(err).Error()
	}
	// A lab can be read without its cluster.
	if c, err := d.cluster(ctx); err == nil {
		out.Home = controlPlane(c)
		for _, n := range c.Nodes() {
			out.Nodes = append(out.Nodes, n.Name)
		}
	}
	return out, nil
}

func (d *desk) Symptoms(ctx context.Context) (lab.Symptoms, error) {
	c, err := d.cluster(ctx)
	if err != nil {
		return lab.Symptoms{}, plain(err)
	}
	var of []string
	if l, err := d.lesson(); err == nil && l != nil {
		of = append(of, l.st.Namespace)
		for _, run := range l.st.Decoys { // what is odd is seen as well
			of = append(of, fault.RunNamespace(run))
		}
	}
	s, err := lab.LookAt(ctx, c.Kube(), of...)
	return s, plain(err)
}

func (d *desk) Start(ctx context.Context, choice web.Choice) error {
	courses, err := drawn(choice)
	if err != nil {
		return plain(err)
	}
	l, c, err := d.a.beginLab(ctx, d.o, courses, nil)
	if err != nil {
		return plain(err)
	}
	d.begun(ctx, l, c)
	return nil
}

// begun looks for what the detectors know, in this process.
func (d *desk) begun(ctx context.Context, l *lesson, c *cluster.Cluster) {
	know, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	if d.forget != nil {
		d.forget()
	}
	d.found, d.forget = c, cancel
	d.mu.Unlock()
	go func() {
		defer cancel()
		_ = d.a.know(know, l) // the debrief lacks it
	}()
}

func (d *desk) Pause(ctx context.Context) error {
	return d.with(func(l *lesson) error { return d.a.pause(ctx, l) })
}

func (d *desk) Resume(ctx context.Context) error {
	return d.with(func(l *lesson) error {
		_, err := d.a.resume(ctx, l)
		return err
	})
}

func (d *desk) Reset(ctx context.Context) error {
	return d.with(func(l *lesson) error {
		c, err := d.a.reset(ctx, l)
		if err == nil {
			d.begun(ctx, l, c)
		}
		return err
	})
}

func (d *desk) Step(ctx context.Context) (step web.Step, err error) {
	err = d.with(func(l *lesson) error {
		_, f, err := d.a.reveal(ctx, l)
		if err != nil {
			return err
		}
		if f == nil {
			return usagef("%s", nothingSeen)
		}
		step = l.step(f)
		return nil
	})
	return step, err
}

func (d *desk) Progress() (labs, points int) {
	store, err := labStore()
	if err != nil {
		return 0, 0
	}
	all, _ := store.History() // it is shown, and nothing hangs on it
	for _, x := range all {
		if x.Learner == d.o.cluster {
			labs, points = labs+1, points+x.Score.Points
		}
	}
	return labs, points
}

// drawn are the labs to try. A page may name one that comes with sickbay, and no file.
func drawn(c web.Choice) ([]scenarios.Course, error) {
	if c.Code == "" {
		if err := checkFilter(c.Level, ""); err != nil {
			return nil, err
		}
		return pick(lab.Filter{Level: c.Level, Core: true}, c.Seed)
	}
	all, err := scenarios.Courses()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(x scenarios.Course) bool { return x.Of.Spec.Code == c.Code })
	if i < 0 {
		return nil, usagef("there is no lab %q", c.Code)
	}
	return all[i : i+1], nil
}

// with does something with the lab that there is.
func (d *desk) with(do func(l *lesson) error) error {
	l, err := lessonOn(d.o.cluster, "")
	if err == nil {
		err = do(l)
	}
	return plain(err)
}

func (d *desk) Hint(ctx context.Context) error {
	return d.with(func(l *lesson) error {
		_, _, err := l.hint(ctx)
		return err
	})
}

func (d *desk) Answer(ctx context.Context, name string) error {
	return d.with(func(l *lesson) error {
		_, _, err := l.answer(ctx, name)
		return err
	})
}

func (d *desk) Check(ctx context.Context, detail func(string)) (v lab.Verdict, err error) {
	err = d.with(func(l *lesson) error {
		v, err = d.a.judge(ctx, l, detail)
		return err
	})
	return v, err
}

func (d *desk) Stop(ctx context.Context, language string) (*lab.Debrief, error) {
	l, err := d.lesson()
	if l == nil || err != nil {
		return nil, plain(err)
	}
	l.language = language
	told, err := d.a.end(ctx, l, "")
	if err != nil {
		return nil, plain(err)
	}
	d.mu.Lock()
	if d.forget != nil {
		d.forget()
	}
	d.found = nil // another may be made by its name
	d.mu.Unlock()
	if err := d.a.nextOfDrill(ctx, l); err != nil || told == nil {
		return nil, plain(err)
	}
	return &told.Debrief, nil
}

func (d *desk) Shell(ctx context.Context, on string, record bool) (sh *exec.Cmd, ended func(), err error) {
	err = d.with(func(l *lesson) error {
		if err := l.under(); err != nil {
			return err
		}
		c, err := d.cluster(ctx)
		if err != nil {
			return err
		}
		if !c.Has(on) {
			return noNode(c, on)
		}
		record = record || l.st.Recorded
		if sh, err = l.shell(ctx, c, on, true, record); err != nil {
			return err
		}
		ended = func() {
			if record {
				_ = l.keepTyped(ctx, c, on) // a lab that is over keeps nothing
			}
		}
		return nil
	})
	return sh, ended, err
}

// knowBound is how long the detectors are looked at: none needs longer to be sure, and a lab that is left open costs nothing then.
const knowBound = 15 * time.Minute

func (a *app) labKnow() *cobra.Command {
	cmd := a.labVerb("know", "Write down when the detectors knew", "Look until the detectors have named every cause, and write down when that was, for the debrief.", noArgs,
		func(cmd *cobra.Command, l *lesson, _ []string) error { return a.know(cmd.Context(), l) })
	cmd.Hidden = true // `lab start` starts it
	return cmd
}

// know writes down when the detectors had named every cause. Nobody reads that before the debrief.
func (a *app) know(ctx context.Context, l *lesson) error {
	ctx, cancel := context.WithTimeout(progress.Into(ctx, progress.Discard), knowBound)
	defer cancel()
	w, _, err := a.reach(ctx, l) // it gives the lab no time
	if err != nil {
		return err
	}
	at, err := w.Knew(ctx, func() bool {
		st, err := l.store.Load(l.st.Key())
		return err == nil && st.Run == l.st.Run && st.SolvedAt.IsZero()
	})
	if err != nil {
		return err
	}
	return l.store.Update(ctx, l.st, func(st *lab.State) { st.Knew = at.UTC() })
}
