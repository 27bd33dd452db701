package detectorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// mark stands in every payload.
const mark = "PWNED"

// payloads are what whoever chooses a name, a path or a message may put into it. The ones that end in = go before the word.
var payloads = []string{
	"$(touch " + mark + ")", "`touch " + mark + "`", "';touch " + mark + ";'", `";touch ` + mark + `;"`, "\ntouch " + mark + "\n", "; touch " + mark + " #",
	" *" + mark + "\\n\\", "\x1b[2K\r" + mark, "--" + mark + "=", "/../" + mark,
}

// Hostile checks remedies and texts against words that were chosen by an attacker: every word of a step or of a command in a text that
// stands in the history as well is changed there, wherever it stands. Nothing of it may run, be parsed as an option or be broken up.
type Hostile struct {
	// Few tries a part of the payloads: each judgement of a recording takes its time.
	Few bool
	// Judged counts the histories that were judged, Ran the commands that were interpreted.
	Judged, Ran int

	seen map[string]bool
	ran  map[[2]string]bool // the same line with the same payload is interpreted once
}

// Check checks one history.
func (x *Hostile) Check(t testing.TB, h v1alpha1.History) {
	t.Helper()
	all := strings.Join(leaves(nil, reflect.ValueOf(h)), "\x00")
	if x.seen == nil {
		x.seen, x.ran = map[string]bool{}, map[[2]string]bool{}
	}
	tried := map[[2]string]bool{} // a word that stands in many places is changed in all of them at once
	for _, f := range detectors.Judge(h, detectors.Registered()) {
		for at, words := range spoken(f) {
			for i, w := range words {
				if key := fmt.Sprint(f.Name(), at, i); x.seen[key] {
					continue // the same word of the same script has been tried
				} else {
					x.seen[key] = true
				}
				for _, word := range observed(w, all) {
					for i, p := range payloads {
						if x.Few && i%3 != 0 && !strings.HasSuffix(p, "=") {
							continue
						}
						if pair := [2]string{word, p}; !tried[pair] {
							tried[pair] = true
							x.try(t, h, word, p)
						}
					}
				}
			}
		}
	}
}

func (x *Hostile) try(t testing.TB, was v1alpha1.History, word, payload string) {
	t.Helper()
	with := word + payload
	if strings.HasSuffix(payload, "=") {
		with = payload + word
	}
	changed, ok := replaced(reflect.ValueOf(was), word, with)
	if !ok {
		return // a time or a quantity: nothing of the kind can be read
	}
	h := changed.Interface().(v1alpha1.History)
	x.Judged++
	for _, f := range detectors.Judge(h, detectors.Registered()) {
		lines := steps(f)
		if !strings.Contains(payload, "`") { // between backticks it ends what is told to be typed
			lines = append(lines, told(f)...)
		}
		for _, line := range lines {
			if !strings.Contains(line, mark) {
				continue
			}
			x.Ran++
			if x.ran[[2]string{line, payload}] {
				continue
			}
			x.ran[[2]string{line, payload}] = true
			if wrong := Runs(line, payload); wrong != "" {
				t.Errorf("%s, where %q is %q: %s\n%s", f.Name(), word, with, wrong, line)
			}
		}
	}
}

// Runs interprets a command line, without any effect, as it goes when everything is there, when nothing is, and when commands answer
// something. It says what of the payload was run, broken up or taken for an option.
func Runs(line, payload string) string {
	for mode := range 3 {
		if wrong := (&sandbox{payload: payload, mode: mode}).run(line, nil, true); wrong != "" {
			return wrong
		}
	}
	return ""
}

// sandbox is a shell none of whose commands does anything.
type sandbox struct {
	payload string
	mode    int

	mu    sync.Mutex // the parts of a pipe run side by side
	calls int
	wrong string
}

func (s *sandbox) run(text string, params []string, strict bool) string {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		if strict {
			s.wrong = "it is no shell's: " + err.Error()
		}
		return s.wrong
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := interp.New(interp.StdIO(strings.NewReader(""), io.Discard, io.Discard), interp.Env(expand.ListEnviron("PATH=/none", "HOME=/none")),
		interp.Params(append([]string{"-e", "--"}, params...)...),
		interp.CallHandler(func(_ context.Context, argv []string) ([]string, error) { s.see(argv); return argv, nil }),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(func(context.Context, string, int, os.FileMode) (io.ReadWriteCloser, error) { return nowhere{}, nil }),
		interp.ReadDirHandler2(func(context.Context, string) ([]fs.DirEntry, error) { return nil, nil }),
		interp.StatHandler(func(context.Context, string, bool) (fs.FileInfo, error) {
			return os.Stat([]string{"/etc/passwd", "/there is no such file", "/"}[s.mode])
		}))
	if err == nil {
		_ = r.Run(ctx, file)
	}
	return s.wrong
}

func (s *sandbox) exec(ctx context.Context, argv []string) error {
	s.mu.Lock()
	s.calls++
	many := s.calls > 500
	s.mu.Unlock()
	if many {
		return interp.ExitStatus(1)
	}
	if i := slices.IndexFunc(argv, func(w string) bool { return w == "-c" || w == "-ec" }); argv[0] == "sh" && i > 0 && len(argv) > i+1 {
		s.run(argv[i+1], argv[min(i+3, len(argv)):], true)
		return nil
	}
	if s.mode == 1 {
		return interp.ExitStatus(1)
	}
	if s.mode == 2 {
		_, _ = io.WriteString(interp.HandlerCtx(ctx).Stdout, "1 x\n")
	}
	return nil
}

// see looks at the words of a command that is to run.
func (s *sandbox) see(argv []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := false
	for i, w := range argv {
		switch {
		case i == 0 && (w == "touch" || strings.HasPrefix(w, mark)) && strings.Contains(strings.Join(argv, " "), mark):
			s.wrong = fmt.Sprintf("%q runs", argv)
		case strings.Contains(w, mark) && !s.whole(w) && !slices.Contains(argv, "sh"):
			s.wrong = fmt.Sprintf("%q is broken up, or was evaluated", argv)
		case i > 0 && strings.HasPrefix(w, "--"+mark) && !ends && !isValue(argv, i) && !slices.Contains([]string{"sh", "[", "test", "printf", "echo", "cd"}, argv[0]):
			s.wrong = fmt.Sprintf("%q has an option of it", argv)
		}
		ends = ends || w == "--"
	}
}

// isValue tells that the word is the value of the option before it, of a program that then takes any.
func isValue(argv []string, i int) bool {
	return slices.Contains([]string{"-connect", "-servername", "-n", "-p", "-x", "-u", "--comment"}, argv[i-1])
}

// whole tells that a word has all of the payload, as it is or within a document's quotes.
func (s *sandbox) whole(w string) bool {
	if strings.HasPrefix(s.payload, "/../") && !strings.Contains(w, "..") {
		return true // the last name of a path alone leads nowhere else
	}
	for _, p := range []string{s.payload, regexp.QuoteMeta(s.payload), jsonText(s.payload), strconv.Quote(s.payload), jsonText(jsonText(s.payload))} {
		if strings.Contains(w, strings.Trim(p, `"`)) {
			return true
		}
	}
	return false
}

func jsonText(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(raw), `"`), `"`)
}

type nowhere struct{ bytes.Reader }

func (nowhere) Read([]byte) (int, error)    { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

var inBackticks = regexp.MustCompile("`([^`]+)`")

// steps are the command lines of a finding's steps, and those that take them back.
func steps(f v1alpha1.Finding) (out []string) {
	if f.Remedy != nil {
		for _, s := range f.Remedy.Steps {
			if out = append(out, s.Run); s.Undo != "" {
				out = append(out, s.Undo)
			}
		}
	}
	return out
}

// told are the commands that a finding's texts tell a person to type.
func told(f v1alpha1.Finding) (out []string) {
	for _, text := range []string{f.ManualAction, f.ToConfirm} {
		for _, m := range inBackticks.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], " ") {
				out = append(out, strings.ReplaceAll(m[1], "…", ""))
			}
		}
	}
	return out
}

// spoken are the words of a finding's commands, by what has them.
func spoken(f v1alpha1.Finding) map[string][]string {
	out := map[string][]string{}
	if f.Remedy != nil {
		for _, s := range f.Remedy.Steps {
			words, at := s.Exec, s.Restore
			if len(words) > 2 {
				at = words[0] + words[1]
			}
			if len(words) > 2 && words[0] == "sh" {
				at, words = words[2], words[min(4, len(words)):]
			}
			if a := s.API; a != nil && a.Object != nil {
				at, words = a.Verb+a.Object.Kind, []string{a.Object.Name, a.Object.Namespace, a.Patch}
			}
			if s.Restore != "" {
				at, words = "restore", []string{s.Restore}
			}
			out[f.Remedy.Name+at] = words
		}
	}
	for _, text := range []string{f.ManualAction, f.ToConfirm} {
		for _, m := range inBackticks.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			out["`"+words[0]] = words
		}
	}
	return out
}

var pieces = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._-]{3,}`)

// observed are the parts of a word that come from a history.
func observed(w, all string) []string {
	if len(w) > 2 && strings.Contains(all, w) {
		return []string{w}
	}
	var out []string
	for _, p := range pieces.FindAllString(w, -1) {
		if strings.Contains(all, p) && !slices.Contains(out, p) && len(out) < 6 {
			out = append(out, p)
		}
	}
	return out
}

// leaves are the texts of a value, keys apart.
func leaves(out []string, v reflect.Value) []string {
	switch v.Kind() {
	case reflect.String:
		out = append(out, v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			out = leaves(out, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		if hasTexts(v.Type()) {
			for i := range v.Len() {
				out = leaves(out, v.Index(i))
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			out = leaves(out, it.Value())
		}
	case reflect.Struct:
		for _, i := range texts(v.Type()) {
			out = leaves(out, v.Field(i))
		}
	}
	return out
}

// replaced is a value with a word changed in all of its texts, and in the keys that are one. What has nothing of it is shared with the
// value: most of a history is log lines that have not. ok tells whether anything was changed.
func replaced(v reflect.Value, word, with string) (out reflect.Value, ok bool) {
	changed := func() reflect.Value {
		if !ok {
			ok = true
			out = reflect.New(v.Type()).Elem()
			out.Set(v)
			if v.Kind() == reflect.Slice {
				out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
				reflect.Copy(out, v)
			}
		}
		return out
	}
	switch out = v; v.Kind() {
	case reflect.String:
		if s := v.String(); strings.Contains(s, word) {
			changed().SetString(strings.ReplaceAll(s, word, with))
		}
	case reflect.Pointer:
		if e, is := replaced(v.Elem(), word, with); !v.IsNil() && is {
			p := reflect.New(e.Type())
			p.Elem().Set(e)
			changed().Set(p)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v, false
		}
		for i := range v.Len() {
			if e, is := replaced(v.Index(i), word, with); is {
				changed().Index(i).Set(e)
			}
		}
	case reflect.Map:
		if m := replacedKeys(v, word, with); m.IsValid() {
			changed().Set(m)
		}
	case reflect.Struct:
		for _, i := range texts(v.Type()) {
			if e, is := replaced(v.Field(i), word, with); is {
				changed().Field(i).Set(e)
			}
		}
	}
	return out, ok
}

// texts are a struct's fields that a text can stand in. Times and quantities have no field that is exported, and no type of an
// observation has itself within it.
func texts(t reflect.Type) []int {
	if known, ok := textFields.Load(t); ok {
		return known.([]int)
	}
	var out []int
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && hasTexts(f.Type) {
			out = append(out, i)
		}
	}
	textFields.Store(t, out)
	return out
}

var textFields sync.Map // by reflect.Type

func hasTexts(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Map:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return t.Elem().Kind() != reflect.Uint8 && hasTexts(t.Elem())
	case reflect.Struct:
		return len(texts(t)) > 0
	}
	return false
}

// replacedKeys is a map with the word changed in its values and in the key that it is, no value where it has none.
func replacedKeys(v reflect.Value, word, with string) (out reflect.Value) {
	for it := v.MapRange(); it.Next(); {
		e, is := replaced(it.Value(), word, with)
		key := it.Key()
		named := key.Kind() == reflect.String && key.String() == word
		if !is && !named {
			continue
		}
		if !out.IsValid() {
			out = reflect.MakeMapWithSize(v.Type(), v.Len())
			for old := v.MapRange(); old.Next(); {
				out.SetMapIndex(old.Key(), old.Value())
			}
		}
		if named {
			out.SetMapIndex(key, reflect.Value{})
			key = reflect.New(key.Type()).Elem()
			key.SetString(with)
		}
		out.SetMapIndex(key, e)
	}
	return out
}
