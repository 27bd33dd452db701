package text

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"two\nlines\tand café 漢字":        "two\nlines\tand café 漢字",
		"\x1b]0;owned\x07":               `\u001b]0;owned\u0007`,
		"\u009b31m":                      `\u009b31m`,
		"over\rwritten\x08":              `over\u000dwritten\u0008`,
		"a\u202egnp.exe\u2066\u200bx":    `a\u202egnp.exe\u2066\u200bx`,
		"not\xffutf8":                    "not\ufffdutf8",
		"\x9b2J":                         "\ufffd2J",
		"the end of a paragraph\u2029 x": `the end of a paragraph\u2029 x`,
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestPlainAll(t *testing.T) {
	type inner struct{ S string }
	v := struct {
		A string
		B []string
		C map[string]string
		D *inner
		E []inner
		F map[string][]string
		x string
	}{"\x1b", []string{"\x1b"}, map[string]string{"k": "\x1b"}, &inner{"\x1b"}, []inner{{"\x1b"}}, map[string][]string{"k": {"\x1b"}}, ""}
	PlainAll(&v)
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), `\\u001b`); n != 6 || v.x != "" {
		t.Errorf("%d of 6 are plain: %s", n, raw)
	}
}

func TestWriter(t *testing.T) {
	var b strings.Builder
	const own = "\x1b[1;31mfailed\x1b[m \x1b[2mfaint\x1b[0m\n"
	in := own + "\x1b[8mhidden\x1b[1A\x1b[2Kover\x1b[31;8m\r"
	if n, err := Writer(&b).Write([]byte(in)); n != len(in) || err != nil {
		t.Fatal(n, err)
	}
	if want := own + `\u001b[8mhidden\u001b[1A\u001b[2Kover\u001b[31;8m\u000d`; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
