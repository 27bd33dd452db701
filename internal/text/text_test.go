package text

import "testing"

func TestCut(t *testing.T) {
	for in, want := range map[string]string{"a  b\n c": "a b c", "äöüäöüä": "äöüäö…", "": ""} {
		if got := Short(in, 6); got != want {
			t.Errorf("Short(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Tail(" a\n\nb\n c \n", 2); got != "b\nc" {
		t.Errorf("Tail: %q", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 10239: "10239 B", 10240: "10 KiB", 1 << 30: "1024 MiB", 97 << 30: "97 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"fill-disk", "freeze-filesystem", "swap"}
	for in, want := range map[string]string{
		"fil-disk": `; did you mean "fill-disk"?`, "sawp": `; did you mean "swap"?`, "freeze": `; did you mean "freeze-filesystem"?`,
		"nonsense": "; it has fill-disk, freeze-filesystem, swap",
	} {
		if got := DidYouMean(in, known); got != want {
			t.Errorf("DidYouMean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := DidYouMean("x", nil); got != "; it has none" {
		t.Error(got)
	}
}
