package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

const (
	// maxLine bounds one line: a kubelet that prints a whole pod spec writes 20 KiB, its first words tell what it is about.
	maxLine = 8 << 10
	// maxLogBytes bounds all lines of a look together.
	maxLogBytes = 4 << 20
)

// cursors is where the logs were left: journald's own cursor, the sequence number of the kernel log within a boot, and the end of
// auditd's file.
// All travel in Observation.Journal.Cursor.
type cursors struct {
	journal string
	kmsg    uint64
	boot    string // first part of the boot id that kmsg counts in
	audit   string // inode and size of auditd's file
}

const (
	kmsgPart  = ";kmsg="
	auditPart = ";audit="
)

func parseCursors(s string) cursors {
	s, audit, _ := strings.Cut(s, auditPart)
	j, k, ok := strings.Cut(s, kmsgPart)
	c := cursors{journal: j, audit: audit}
	if ok {
		seq, boot, _ := strings.Cut(k, "@")
		if n, err := strconv.ParseUint(seq, 10, 64); err == nil {
			c.kmsg, c.boot = n, boot
		}
	}
	return c
}

func (c cursors) String() string {
	s := c.journal
	if c.boot != "" {
		s += fmt.Sprintf("%s%d@%s", kmsgPart, c.kmsg, c.boot)
	}
	if c.audit != "" {
		s += auditPart + c.audit
	}
	return s
}

// setCursor changes one part of the observation's cursor.
func (l *look) setCursor(change func(*cursors)) {
	l.put(func(o *v1alpha1.Observation) {
		c := parseCursors(o.Journal.Cursor)
		change(&c)
		o.Journal.Cursor = c.String()
	})
}

// readJournal reads the units' journal after the cursor, or the last minutes of it.
func (l *look) readJournal(ctx context.Context, s *source) error {
	from := parseCursors(l.opts.Cursor)
	// Whatever happens, the next look must not lose the place.
	l.setCursor(func(c *cursors) { c.journal = from.journal })

	lines, err := l.journalAfter(ctx, s, from.journal)
	if err != nil && from.journal != "" && ctx.Err() == nil && lines.seen == 0 {
		// The journal was rotated away or belongs to another machine: journalctl refuses the cursor.
		lines, err = l.journalAfter(ctx, s, "")
	}
	own := ownClock{zone: time.Local}
	got := make([]v1alpha1.LogLine, 0, len(lines.kept))
	for _, e := range lines.kept {
		got = append(got, own.line(e))
	}
	own.years(got)
	got = joinValues(got)
	redact.Lines(got)
	l.mu.Lock()
	l.failedPulls = failedPullHosts(got)
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) {
		o.Journal.Lines = got
		o.Journal.Truncated = lines.dropped
		for unit, seconds := range processOffsets(got) {
			setOffset(o, unit, seconds, false)
		}
	})
	if lines.cursor != "" {
		l.setCursor(func(c *cursors) { c.journal = lines.cursor })
	}
	if err != nil && lines.seen > 0 {
		// Part of it was read: the cursor stands after the last line taken, so the rest comes with the next look.
		l.put(func(o *v1alpha1.Observation) { o.Journal.Truncated = true })
		return fmt.Errorf("stopped after %d lines: %s", lines.seen, l.describe(s, err))
	}
	return err
}

// joinValues puts a value of several lines back into its line. klog writes such a value as key=<, each line behind a tab, and " >"
// (k8s.io/klog/v2/internal/serialize); journald takes each line for an entry, and the reason is not in the one that has the key.
func joinValues(lines []v1alpha1.LogLine) []v1alpha1.LogLine {
	out := lines[:0]
	open := false
	for _, l := range lines {
		last := len(out) - 1
		if open && l.PID == out[last].PID && l.Source == out[last].Source {
			if rest, ok := strings.CutPrefix(l.Text, " >"); ok {
				out[last].Text += `"` + rest
				open = strings.HasSuffix(rest, "=<")
				continue
			}
			if value, ok := strings.CutPrefix(l.Text, "\t"); ok {
				if len(out[last].Text) < maxLine {
					out[last].Text += value + `\n`
				}
				continue
			}
		}
		if open = strings.HasSuffix(l.Text, "=<"); open {
			l.Text = strings.TrimSuffix(l.Text, "<") + `"`
		}
		out = append(out, l)
	}
	return out
}

func (l *look) journalAfter(ctx context.Context, s *source, cursor string) (*ring, error) {
	argv := []string{"journalctl", "--no-pager", "-q", "-o", "json", "--output-fields=MESSAGE,PRIORITY,_PID,_SYSTEMD_UNIT,UNIT"}
	for _, u := range l.logUnits() {
		argv = append(argv, "-u", u)
	}
	if cursor != "" {
		argv = append(argv, "--after-cursor", cursor)
	} else {
		argv = append(argv, "--since", fmt.Sprintf("@%d", l.start.Add(-l.opts.First).Unix()))
	}
	d := strings.Join(argv[:6], " ")
	s.doing.Store(&d)
	keep := newRing(l.opts.MaxLines)
	err := l.exec(ctx, keep.read, argv...)
	return keep, err
}

// entry is one journal entry as `journalctl -o json` prints it.
type entry struct {
	Cursor   string          `json:"__CURSOR"`
	Realtime string          `json:"__REALTIME_TIMESTAMP"`
	Message  json.RawMessage `json:"MESSAGE"`
	Priority string          `json:"PRIORITY"`
	PID      string          `json:"_PID"`
	Unit     string          `json:"_SYSTEMD_UNIT"`
	About    string          `json:"UNIT"` // systemd's own lines about a unit
}

// ring keeps the newest entries.
type ring struct {
	max, bytes int
	kept       []entry
	seen       int
	dropped    bool
	cursor     string
}

func newRing(n int) *ring { return &ring{max: n} }

func (k *ring) read(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(br, 1<<20)
		if len(line) > 0 {
			var e entry
			if json.Unmarshal(line, &e) == nil && e.Cursor != "" {
				k.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads one line of any length and keeps at most max bytes of it.
func readLine(br *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if room := max - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (k *ring) add(e entry) {
	k.seen++
	k.cursor = e.Cursor
	if len(e.Message) > 2*maxLine {
		// Keep it decodable: only its text counts.
		if s := messageText(e.Message); len(s) > maxLine {
			e.Message, _ = json.Marshal(s[:maxLine])
		}
	}
	k.kept = append(k.kept, e)
	k.bytes += len(e.Message)
	drop := 0
	for len(k.kept)-drop > k.max || k.bytes > maxLogBytes && len(k.kept)-drop > 1 {
		k.bytes -= len(k.kept[drop].Message)
		drop++
	}
	if drop > 0 {
		k.dropped = true
		k.kept = k.kept[drop:]
	}
}

// messageText decodes MESSAGE: a string, or an array of bytes when it is not UTF-8, or null when it was too long.
func messageText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var ints []byte
	var nums []int
	if json.Unmarshal(raw, &nums) == nil {
		for _, n := range nums {
			ints = append(ints, byte(n))
		}
	}
	return strings.ToValidUTF8(string(ints), "�")
}

// ownClock finds the stamps that processes write into their own lines.
type ownClock struct{ zone *time.Location }

func (c ownClock) line(e entry) v1alpha1.LogLine {
	text := messageText(e.Message)
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	usec, _ := strconv.ParseInt(e.Realtime, 10, 64)
	pid, _ := strconv.Atoi(e.PID)
	unit := e.Unit
	if e.About != "" {
		unit = e.About
	}
	l := v1alpha1.LogLine{
		Source: strings.TrimSuffix(unit, ".service"),
		At:     time.UnixMicro(usec).UTC(),
		PID:    pid,
		Text:   text,
	}
	l.Own, l.Level = c.stamp(text, l.At)
	if l.Level == "" {
		l.Level = priorityLevel(e.Priority)
	}
	return l
}

func priorityLevel(p string) string {
	switch p {
	case "0", "1", "2":
		return "fatal"
	case "3":
		return "error"
	case "4":
		return "warning"
	case "":
		return ""
	}
	return "info"
}

var (
	klogHeader   = regexp.MustCompile(`^([IWEF])(\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})\s+\d+ [^ \]]+:\d+\] `)
	logrusTime   = regexp.MustCompile(`^time="([^"]+)" level=(\w+)`)
	currentTime  = regexp.MustCompile(`current time (\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:Z|[+-]\d{2}:\d{2})) is (?:before|after)`)
	expiredAt    = regexp.MustCompile(`client certificate in \S+ is expired: (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} [+-]\d{4})`)
	klogLevels   = map[string]string{"I": "info", "W": "warning", "E": "error", "F": "fatal"}
	logrusLevels = map[string]string{"trace": "info", "debug": "info", "info": "info", "warning": "warning", "warn": "warning", "error": "error", "fatal": "fatal", "panic": "fatal"}
)

// stamp reads the time and level a process wrote into its line. A klog header has neither year nor zone: the year is the one
// that brings it nearest to journald's stamp, unless the same line quotes the process's clock in full, as a certificate
// check does ("current time 2036-11-24T00:00:00Z is after …").
func (c ownClock) stamp(text string, at time.Time) (time.Time, string) {
	if m := logrusTime.FindStringSubmatch(text); m != nil {
		t, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			t = time.Time{}
		}
		return t.UTC(), logrusLevels[m[2]]
	}
	if len(text) == 0 || strings.IndexByte("IWEF", text[0]) < 0 {
		return time.Time{}, ""
	}
	m := klogHeader.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, ""
	}
	n := func(i int) int { v, _ := strconv.Atoi(m[i]); return v }
	in := func(year int) time.Time {
		return time.Date(year, time.Month(n(2)), n(3), n(4), n(5), n(6), n(7)*1000, c.zone)
	}
	year := at.In(c.zone).Year()
	best := in(year)
	for _, y := range []int{year - 1, year + 1} {
		if t := in(y); t.Sub(at).Abs() < best.Sub(at).Abs() {
			best = t
		}
	}
	if q := currentTime.FindStringSubmatch(text); q != nil {
		if t, err := time.Parse(time.RFC3339, q[1]); err == nil {
			if full := in(t.In(c.zone).Year()); full.Sub(t).Abs() <= 5*time.Second {
				best = full
			}
		}
	}
	// A certificate that the process calls expired ended before its own time: the first year that is late enough.
	if q := expiredAt.FindStringSubmatch(text); q != nil {
		if t, err := time.Parse("2006-01-02 15:04:05 -0700", q[1]); err == nil && best.Before(t) {
			if best = in(t.In(c.zone).Year()); best.Before(t) {
				best = in(best.Year() + 1)
			}
		}
	}
	return best.UTC(), klogLevels[m[1]]
}

// years gives the lines of a process the year that one of them tells: the others' headers say only day and month.
func (c ownClock) years(lines []v1alpha1.LogLine) {
	told := map[int]int{} // PID → years between its clock and journald's
	for _, l := range lines {
		if currentTime.MatchString(l.Text) || expiredAt.MatchString(l.Text) {
			told[l.PID] = l.Own.In(c.zone).Year() - l.At.In(c.zone).Year()
		}
	}
	for i := range lines {
		l := &lines[i]
		years, ok := told[l.PID]
		if !ok || l.Own.IsZero() || !klogHeader.MatchString(l.Text) {
			continue
		}
		own := l.Own.In(c.zone)
		l.Own = time.Date(l.At.In(c.zone).Year()+years, own.Month(), own.Day(), own.Hour(), own.Minute(), own.Second(), own.Nanosecond(), c.zone).UTC()
	}
}

// setOffset notes by how much a unit's clock differs. A time that its process has just answered with is better than one
// from its log, whose last line may be old and has no year.
func setOffset(o *v1alpha1.Observation, unit string, seconds float64, answered bool) {
	if o.Clocks.ProcessOffsetSeconds == nil {
		o.Clocks.ProcessOffsetSeconds = map[string]float64{}
	}
	if _, known := o.Clocks.ProcessOffsetSeconds[unit]; !known || answered {
		o.Clocks.ProcessOffsetSeconds[unit] = seconds
	}
}

// processOffsets is how far each unit's clock runs ahead of journald's, from its newest lines. A line reaches journald up to
// a few milliseconds late, more under load, so the median of the last five is taken.
func processOffsets(lines []v1alpha1.LogLine) map[string]float64 {
	last := map[string][]float64{}
	pid := map[string]int{}
	for i := len(lines) - 1; i >= 0; i-- {
		ln := lines[i]
		if ln.Own.IsZero() || len(last[ln.Source]) >= 5 {
			continue
		}
		// Only the process that runs now: the one before may have had another clock.
		if p, ok := pid[ln.Source]; ok && p != ln.PID {
			continue
		}
		pid[ln.Source] = ln.PID
		last[ln.Source] = append(last[ln.Source], ln.Own.Sub(ln.At).Seconds())
	}
	if len(last) == 0 {
		return nil
	}
	out := map[string]float64{}
	for unit, v := range last {
		out[unit] = median(v)
	}
	return out
}

func median(v []float64) float64 {
	for i := 1; i < len(v); i++ {
		for j := i; j > 0 && v[j] < v[j-1]; j-- {
			v[j], v[j-1] = v[j-1], v[j]
		}
	}
	return v[len(v)/2]
}

var pulledFrom = regexp.MustCompile(`(?:image |reference |Head |Get |Post |host=|host: )\\*"?(?:https?://)?([a-z0-9][a-z0-9.-]*(?::\d+)?)/`)

// failedPull is the registry of a failed pull, with the time of the last line that names it.
type failedPull struct {
	host string
	at   time.Time
}

// failedPullHosts are the registries of failed pulls, newest first. Only these are probed: a healthy node's registries are
// none of the agent's business.
func failedPullHosts(lines []v1alpha1.LogLine) []failedPull {
	var hosts []failedPull
	seen := map[string]bool{}
	for i := len(lines) - 1; i >= 0; i-- {
		t := lines[i].Text
		if !strings.Contains(t, "ailed to pull") && !strings.Contains(t, "ailed to resolve") && !strings.Contains(t, "trying next host") && !strings.Contains(t, "PullImage") {
			continue
		}
		if lines[i].Level == "info" && !strings.Contains(t, "trying next host") {
			continue
		}
		for _, m := range pulledFrom.FindAllStringSubmatch(t, -1) {
			h := m[1]
			if !seen[h] && (strings.ContainsAny(h, ".:") || h == "localhost") {
				seen[h] = true
				hosts = append(hosts, failedPull{h, lines[i].At})
			}
		}
	}
	return hosts
}
