package collect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

const (
	auditLog = "/var/log/audit/audit.log"
	// auditTail is as much of its end as is read: ten minutes of a busy node, of which the denials are kept.
	auditTail = 512 << 10
)

var auditStamp = regexp.MustCompile(`audit\((\d+)\.(\d{3}):\d+\)`)

// denial tells whether an audit record says that something was refused: records of AppArmor and SELinux, and of seccomp.
func denial(text string) bool {
	return strings.Contains(text, "DENIED") || strings.Contains(text, "denied ") || strings.Contains(text, "SECCOMP") || strings.Contains(text, "type=1326")
}

// audit reads the kernel's audit records where they do not go to its log: while auditd runs the kernel prints none. journald has them,
// else auditd's own file does.
func (l *look) audit(ctx context.Context, s *source) error {
	argv := []string{"journalctl", "--no-pager", "-q", "-o", "json", "--output-fields=MESSAGE,_PID"}
	if from := parseCursors(l.opts.Cursor).journal; from != "" {
		argv = append(argv, "--after-cursor", from)
	} else {
		argv = append(argv, "--since", fmt.Sprintf("@%d", l.start.Add(-l.opts.First).Unix()))
	}
	d := "journalctl _TRANSPORT=audit"
	s.doing.Store(&d)
	keep := newRing(maxKmsg)
	var lines []v1alpha1.LogLine
	if err := l.exec(ctx, keep.read, append(argv, "_TRANSPORT=audit")...); err == nil {
		for _, e := range keep.kept {
			line := ownClock{zone: time.Local}.line(e)
			line.Source = "audit"
			if denial(line.Text) {
				lines = append(lines, line)
			}
		}
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := s.at(l, "reading", auditLog); err != nil {
		return err
	}
	if file := l.auditFile(); keep.seen == 0 {
		lines = file
	}
	redact.Lines(lines)
	l.put(func(o *v1alpha1.Observation) { o.Kmsg = append(o.Kmsg, lines...) })
	return nil
}

// auditFile reads what auditd's file has since the last look, at most its end; after a rotation the new file's end.
func (l *look) auditFile() (lines []v1alpha1.LogLine) {
	f, err := os.Open(l.root.path(auditLog))
	if err != nil {
		return nil // no auditd here
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	from, inode := int64(0), fi.Sys().(*syscall.Stat_t).Ino
	if had, at, ok := strings.Cut(parseCursors(l.opts.Cursor).audit, "@"); ok && had == fmt.Sprint(inode) && number(at) <= fi.Size() {
		from = number(at)
	}
	if _, err := f.Seek(max(from, fi.Size()-auditTail), io.SeekStart); err != nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, auditTail))
	if err != nil {
		return nil
	}
	// A line that is still being written is read by the next look.
	rest := len(b) - 1 - bytes.LastIndexByte(b, '\n')
	b = b[:len(b)-rest]
	end := max(from, fi.Size()-auditTail) + int64(len(b))
	l.setCursor(func(c *cursors) { c.audit = fmt.Sprintf("%d@%d", inode, end) })
	for line := range strings.Lines(string(b)) {
		m := auditStamp.FindStringSubmatch(line)
		if m == nil || !denial(line) {
			continue
		}
		at := time.UnixMilli(number(m[1])*1000 + number(m[2])).UTC()
		if l.start.Sub(at) < l.opts.First {
			lines = append(lines, v1alpha1.LogLine{Source: "audit", At: at, Text: strings.TrimSpace(line)})
		}
	}
	return lines
}
