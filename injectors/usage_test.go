package injectors

import (
	"errors"
	"testing"
)

func TestOnlyVanished(t *testing.T) {
	for text, want := range map[string]bool{
		"du --summarize /d: exit status 1: du: cannot access '/d/a': No such file or directory\ndu: cannot access '/d/b': No such file or directory": true,
		"du --summarize /d: exit status 1: du: cannot access '/d/a': No such file or directory\ndu: /d/b: Input/output error":                        false,
		"du --summarize /d: exit status 1: du: cannot read directory '/d/c': Permission denied":                                                      false,
	} {
		if onlyVanished(errors.New(text)) != want {
			t.Errorf("%s: want %t", text, want)
		}
	}
}
