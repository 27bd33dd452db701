package collect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

// maxKmsg bounds the kernel lines of one look; the kernel's ring holds a few thousand.
const maxKmsg = 1000

// kmsg reads the kernel log from where the last look left it. There is no way to seek to a sequence number, so the ring is
// read through: one system call a record, under 5 ms for a full ring. The log belongs to the kernel, not to this node: a
// line is attributed by the container id in its text.
func (l *look) kmsg(ctx context.Context, s *source) error {
	from := parseCursors(l.opts.Cursor)
	boot, _, _ := strings.Cut(l.root.text("/proc/sys/kernel/random/boot_id"), "-")
	if from.boot != boot {
		from.kmsg = 0
	}
	after := l.start.Add(-l.opts.First)
	if from.kmsg > 0 {
		after = time.Time{}
	}
	if err := s.at(l, "reading", "/dev/kmsg"); err != nil {
		return err
	}
	fd, err := unix.Open(l.root.path("/dev/kmsg"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		if from.boot != "" {
			l.setCursor(func(c *cursors) { c.kmsg, c.boot = from.kmsg, from.boot })
		}
		return fmt.Errorf("open /dev/kmsg: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()

	started := kernelStart()
	var lines []v1alpha1.LogLine
	last := from.kmsg
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EPIPE: // records were overwritten while we read
			continue
		case err == unix.EAGAIN || err == nil && n == 0:
			goto end
		case err != nil:
			return fmt.Errorf("read /dev/kmsg: %w", err)
		}
		rec, ok := parseKmsg(buf[:n], started)
		if !ok {
			continue
		}
		if rec.seq+1 > last {
			last = rec.seq + 1
		}
		if rec.seq < from.kmsg || rec.line.At.Before(after) {
			continue
		}
		lines = append(lines, rec.line)
		if len(lines) > maxKmsg {
			lines = lines[1:]
		}
	}
end:
	l.put(func(o *v1alpha1.Observation) { o.Kmsg = append(lines, o.Kmsg...) })
	l.setCursor(func(c *cursors) { c.kmsg, c.boot = last, boot })
	if err := ctx.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

type kmsgRecord struct {
	seq  uint64
	line v1alpha1.LogLine
}

// parseKmsg reads "prio,seq,usec,flags;text\n KEY=value…". Records of user space (facility above 0) are not the kernel's.
func parseKmsg(b []byte, boot time.Time) (kmsgRecord, bool) {
	head, text, ok := strings.Cut(string(b), ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return kmsgRecord{}, false
	}
	prio, err1 := strconv.Atoi(f[0])
	seq, err2 := strconv.ParseUint(f[1], 10, 64)
	usec, err3 := strconv.ParseInt(f[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return kmsgRecord{}, false
	}
	rec := kmsgRecord{seq: seq}
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	rec.line = v1alpha1.LogLine{
		Source: "kernel",
		At:     boot.Add(time.Duration(usec) * time.Microsecond).Round(0).UTC(),
		Level:  priorityLevel(strconv.Itoa(prio & 7)),
		Text:   redact.Text(strings.ToValidUTF8(text, "�")),
	}
	return rec, prio>>3 == 0
}
