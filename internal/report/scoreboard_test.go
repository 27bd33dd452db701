package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestScoreboard(t *testing.T) {
	a, b := scored(12), scored(30)
	b.Detectors[1].Name = "other <b>"
	for i := range b.Results {
		b.Results[i].Detectors[1].Detector = "other <b>"
	}
	var md strings.Builder
	if err := WriteScoreboard(&md, []*v1alpha1.Report{a, b}, ""); err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, part := range []string{"| 1 | sickbay | 42/42 (92–100 %)", "kubectl (reference)", "none (control) | 0/42", "## Each failure", "| swap |"} {
		at := strings.Index(md.String()[last:], part)
		if at < 0 {
			t.Fatalf("no %q after byte %d in\n%s", part, last, md.String())
		}
		last += at
	}
	into := t.TempDir()
	if err := WriteScoreboard(io.Discard, []*v1alpha1.Report{a, b}, into); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(into, FileScoreboardHTML))
	if err != nil || strings.Contains(string(page), "<b>other <b>") || !strings.Contains(string(page), "other &lt;b&gt;") {
		t.Errorf("a name became markup, or is lost: %v", err)
	}
	picture, err := os.ReadFile(filepath.Join(into, FileScoreboardSVG))
	if err != nil {
		t.Fatal(err)
	}
	dots := 0
	for dec := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "g" {
			dots++
		}
	}
	if dots < 30 {
		t.Errorf("%d dots", dots)
	}
	if err := WriteScoreboard(io.Discard, []*v1alpha1.Report{many()}, ""); err == nil || !strings.Contains(err.Error(), "no detector was scored") {
		t.Errorf("%v", err)
	}
}
