package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	// A command line of ours in a message, a comment or a page, up to where its text ends.
	commandLine = regexp.MustCompile("(`)?\\bsickbay ([a-z]+)((?: [^`\"\\\\\n;|#()]*)?)(`)?")
	longFlag    = regexp.MustCompile(`(?:^|\s)--([a-z][a-z-]*)`)
)

// TestCommandsInTextsExist: whatever a message or a page tells the reader to type is there, flags included.
func TestCommandsInTextsExist(t *testing.T) {
	root := newApp(nil, os.Stdout, os.Stderr).root()
	find := func(name string, of *cobra.Command) *cobra.Command {
		for _, c := range of.Commands() {
			if c.Name() == name {
				return c
			}
		}
		return nil
	}
	seen := 0
	check := func(file, text string) {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			verb := find(m[2], root)
			if verb == nil {
				if m[1] != "" && m[4] != "" {
					t.Errorf("%s: there is no verb for %q", file, m[0])
				}
				continue // prose
			}
			if words := strings.Fields(m[3]); len(words) > 0 && verb.HasSubCommands() {
				if sub := find(words[0], verb); sub != nil {
					verb = sub
				}
			}
			for _, f := range longFlag.FindAllStringSubmatch(m[3], -1) {
				seen++
				if verb.Flags().Lookup(f[1]) == nil && root.PersistentFlags().Lookup(f[1]) == nil && f[1] != "help" {
					t.Errorf("%s: %s has no flag --%s, but %q", file, verb.CommandPath(), f[1], strings.TrimSpace(m[0]))
				}
			}
		}
	}
	top := filepath.Join("..", "..")
	err := filepath.WalkDir(top, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); p != top && (strings.HasPrefix(name, ".") || name == "bin" || name == "reports" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(p, "_test.go"):
			return nil
		case strings.HasSuffix(p, ".go"), strings.HasSuffix(p, ".md"), strings.HasSuffix(p, ".yaml"), strings.HasSuffix(p, ".yml"), e.Name() == "Makefile":
		default:
			return nil
		}
		b, err := os.ReadFile(p)
		if err == nil {
			check(strings.TrimPrefix(p, top+string(filepath.Separator)), string(b))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d flags were found in all texts: the test looks past them", seen)
	}
}
