package progress

import (
	"os"

	"golang.org/x/term"
)

// For chooses the Sink for a stream: live on a terminal, plain lines otherwise, nothing when quiet. The function it returns
// gives the terminal back and must be called before anything else is printed on it.
func For(f *os.File, quiet bool) (Sink, func()) {
	switch {
	case quiet:
		return Discard, func() {}
	case !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("CI") != "":
		return NewPlain(f), func() {}
	}
	t := NewTerminal(f, func() (int, int) {
		w, h, err := term.GetSize(int(f.Fd()))
		if err != nil || w < 20 || h < 4 {
			return 80, 24
		}
		return w, h
	}, Color(f))
	return t, t.Close
}

// Color tells whether a stream wants colour: a terminal, and NO_COLOR (https://no-color.org) not set.
func Color(f interface{ Fd() uintptr }) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
