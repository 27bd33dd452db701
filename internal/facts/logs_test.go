package facts

import (
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	long := "begin " + strings.Repeat("ä", 500) + " end"
	got := Short(long)
	if !strings.HasPrefix(got, "begin ä") || !strings.HasSuffix(got, "ä end") || len([]rune(got)) != 401 {
		t.Errorf("%q", got)
	}
	if got := Short("a\n  b"); got != "a b" {
		t.Errorf("%q", got)
	}
}
