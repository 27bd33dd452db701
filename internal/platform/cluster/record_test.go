package cluster

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// ourCluster is a cluster that has one node and needs no engine for records and claims.
func ourCluster(t *testing.T) *Cluster {
	t.Setenv("SICKBAY_CACHE", t.TempDir())
	return &Cluster{Name: "c", Ours: true, nodes: []NodeInfo{{Name: "c-worker"}}}
}

func only(t *testing.T) Record {
	t.Helper()
	all, err := Records("")
	if err != nil || len(all) != 1 {
		t.Fatalf("records: %v, %v; want one", all, err)
	}
	return all[0]
}

func TestARecordOutlivesItsHolder(t *testing.T) {
	c := ourCluster(t)
	h, err := c.Begin(Record{Run: "r-1", Scenario: "s", Node: "c-worker", Lease: time.Minute, Images: []string{"a:1"}})
	if err != nil {
		t.Fatal(err)
	}
	r := only(t)
	if !r.Alive || r.Cluster != "c" || r.PID != os.Getpid() || r.Images[0] != "a:1" || time.Until(r.Due()) > time.Minute {
		t.Errorf("while it is held: %+v", r)
	}
	if _, err := r.Take(); !errors.As(err, new(*ClaimedError)) {
		t.Errorf("a record that is held was taken: %v", err)
	}
	if err := h.Remedy(); err != nil {
		t.Fatal(err)
	}
	h.Release()
	r = only(t)
	if r.Alive || !r.Remedied {
		t.Errorf("after its holder has gone: %+v", r)
	}
	h, err = r.Take()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.End(); err != nil {
		t.Fatal(err)
	}
	if all, err := Records(""); err != nil || len(all) != 0 {
		t.Errorf("after its end there is %v, %v", all, err)
	}
	if _, err := r.Take(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a record that has ended was taken: %v", err)
	}
}

func TestANodeThatIsNotCleanIsRefused(t *testing.T) {
	c := ourCluster(t)
	h, err := c.Begin(Record{Run: "r-1", Node: "c-worker", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Leave(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Claim(t.Context(), "c-worker")
	if !errors.As(err, new(*NotCleanError)) {
		t.Fatalf("the node was claimed: %v", err)
	}
	for _, want := range []string{"c-worker is not clean", "on purpose", "heals itself in", "sickbay recover --cluster c --run r-1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	r := only(t)
	if h, err = r.Take(); err != nil {
		t.Fatal(err)
	}
	if err := h.End(); err != nil {
		t.Fatal(err)
	}
	release, err := c.Claim(t.Context(), "c-worker")
	if err != nil {
		t.Fatalf("a clean node was refused: %v", err)
	}
	release()
}

func TestRenewalMovesTheLease(t *testing.T) {
	c := ourCluster(t)
	h, err := c.Begin(Record{Run: "r-1", Node: "c-worker", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(h.file, long, long); err != nil {
		t.Fatal(err)
	}
	if r := only(t); time.Now().Before(r.Due()) {
		t.Errorf("it is due at %s", r.Due())
	}
	if err := h.Renew(); err != nil {
		t.Fatal(err)
	}
	if r := only(t); time.Until(r.Due()) < 50*time.Second {
		t.Errorf("renewed, it is due at %s", r.Due())
	}
}

// TestAKilledProcessLeavesItsRecord: the kernel takes the hold from a process that was killed, and nothing else is needed.
func TestAKilledProcessLeavesItsRecord(t *testing.T) {
	c := ourCluster(t)
	if os.Getenv("SICKBAY_TEST_DIE") != "" {
		if err := os.Setenv("SICKBAY_CACHE", os.Getenv("SICKBAY_TEST_DIE")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Begin(Record{Run: "r-1", Node: "c-worker", Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	// What the killed process has made for itself goes with this one's.
	cmd.Env = append(os.Environ(), "SICKBAY_TEST_DIE="+os.Getenv("SICKBAY_CACHE"), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the process was not killed: %v\n%s", err, out)
	}
	r := only(t)
	if r.Alive || r.PID != cmd.Process.Pid {
		t.Errorf("%+v", r)
	}
}

func TestWhatWasDoneMeanwhileIsToldOnce(t *testing.T) {
	ourCluster(t)
	if err := Tell("run r-1 was undone"); err != nil {
		t.Fatal(err)
	}
	if news := News(); len(news) != 1 || !strings.HasSuffix(news[0], " run r-1 was undone") {
		t.Errorf("told %q", news)
	}
	if news := News(); news != nil {
		t.Errorf("told again %q", news)
	}
}
