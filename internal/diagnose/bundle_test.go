package diagnose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

const goodHeader = "apiVersion: sickbay.dev/v1alpha1\nkind: Bundle\nrecordedAt: 2026-11-24T00:00:00Z\nformat: 1\n"

func oneNode(file string) string {
	return goodHeader + fmt.Sprintf("nodes: [{name: a, file: %q, looks: 1}]\n", file)
}

func packed(t testing.TB, raw []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(raw, nil)
}

// Whatever somebody mails is judged or refused, in time and with a reason.
func TestHostileBundles(t *testing.T) {
	const node = "nodes/a.json"
	raw := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(name, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	large := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			raw(name, "[")(t, dir)
			if err := os.Truncate(filepath.Join(dir, name), 1<<40); err != nil { // a hole: it takes no space
				t.Skip(err)
			}
		}
	}
	fifo := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
				t.Skip(err)
			}
		}
	}
	for name, c := range map[string]struct {
		header string
		make   func(*testing.T, string)
		want   string
	}{
		"no header":         {"", nil, "is not a bundle: there is no bundle.yaml"},
		"no YAML":           {"\x00\xff{", nil, "bundle.yaml"},
		"later format":      {strings.ReplaceAll(goodHeader, "format: 1", "format: 2") + "nodez: 7\n", nil, "that is sickbay.dev/v1alpha1 Bundle format 2"},
		"later API version": {strings.ReplaceAll(goodHeader, "v1alpha1", "v1"), nil, "that is sickbay.dev/v1 Bundle"},
		"another kind":      {strings.ReplaceAll(goodHeader, "Bundle", "Scenario"), nil, "Scenario"},
		"unknown field":     {goodHeader + "nodez: []\n", nil, `unknown field "nodez"`},
		"wrong type":        {goodHeader + "nodes: 7\n", nil, "bundle.yaml"},
		"header is a pipe":  {"", fifo("bundle.yaml"), "not a file"},
		"header is large":   {"", large("bundle.yaml"), "MiB"},
		"aliases":           {"a: &a [x,x,x,x,x,x,x,x,x]\n" + aliases(), nil, "bundle.yaml"},
		"named twice":       {goodHeader + "nodes: [{name: a, file: x}, {name: a, file: y}]\n", nil, "named twice"},
		"without a name":    {goodHeader + "nodes: [{file: x}]\n", nil, "not at all"},
		"upwards":           {oneNode("../../../etc/hostname"), nil, "leads out of the bundle"},
		"absolute":          {oneNode("/etc/hostname"), nil, "leads out of the bundle"},
		"a link out":        {oneNode(node), link(node, "/etc/hostname"), "a.json"},
		"a folder out":      {oneNode("nodes/x/hostname"), link("nodes/x", "/etc"), "hostname"},
		"endless":           {oneNode(node), link(node, "/dev/zero"), "a.json"},
		"a pipe":            {oneNode(node), fifo(node), "not a file"},
		"a folder":          {oneNode("nodes"), nil, "not a file"},
		"missing":           {oneNode(node), nil, "a.json"},
		"large":             {oneNode(node), large(node), "MiB"},
		"empty":             {oneNode(node), raw(node, ""), "is damaged"},
		"cut short":         {oneNode(node), raw(node, `[{"node":"a","at":"2026-`), "is damaged"},
		"no observation":    {oneNode(node), raw(node, "[]"), "holds no observation"},
		"null":              {oneNode(node), raw(node, "null"), "holds no observation"},
		"another document":  {oneNode(node), raw(node, `{"node":"a"}`), "is damaged"},
		"deep":              {oneNode(node), raw(node, strings.Repeat("[", 1<<20)), "levels deep"},
		"not compressed":    {oneNode(node + compressed), raw(node+compressed, "[{}]"), "uncompress it"},
		"compressed, cut": {oneNode(node + compressed), func(t *testing.T, dir string) {
			b := packed(t, bytes.Repeat([]byte("[{}]  "), 1000))
			raw(node+compressed, string(b[:len(b)/2]))(t, dir)
		}, "uncompress it"},
		"a bomb": {oneNode(node + compressed), func(t *testing.T, dir string) {
			raw(node+compressed, string(packed(t, make([]byte, maxNodeFile+1))))(t, dir)
		}, "uncompress it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "nodes"), 0o700); err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				raw("bundle.yaml", c.header)(t, dir)
			}
			if c.make != nil {
				c.make(t, dir)
			}
			began := time.Now()
			err := judgeDir(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("error %v, want something of %q", err, c.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// aliases is the bomb of ever doubling references.
func aliases() string {
	var b strings.Builder
	last := "a"
	for _, next := range "bcdefghijklmnop" {
		fmt.Fprintf(&b, "%c: &%c [%s]\n", next, next, strings.TrimSuffix(strings.Repeat("*"+last+",", 9), ","))
		last = string(next)
	}
	return b.String()
}

func judgeDir(dir string) error {
	b, err := OpenBundle(dir)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, u := range JudgeBundle(b, nil).Unknown {
		if u.What == "node" {
			return errors.New(u.Why)
		}
	}
	return nil
}

// The memory of a few bytes is a few bytes, wherever in a look the many elements stand.
func TestBundleDoesNotAmplify(t *testing.T) {
	many := strings.Repeat("{},", 200_000) + "{}"
	for name, text := range map[string]string{
		"looks":    "[" + many + "]",
		"nulls":    "[" + strings.Repeat("null,", 200_000) + "null]",
		"pods":     `[{"api":{"pods":[` + many + `]}}]`,
		"lines":    `[{"journal":{"lines":[` + many + `]}}]`,
		"nested":   `[{"api":{"pods":[{"spec":{"containers":[` + many + `]}}]}}]`,
		"in a map": `[{"units":{"a":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + `}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string][]byte{"bundle.yaml": []byte(oneNode("n.json.zst")), "n.json.zst": packed(t, []byte(text))} {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := judgeDir(dir); err == nil || !strings.Contains(err.Error(), "than any observation") && !strings.Contains(err.Error(), "levels deep") {
				t.Errorf("%v", err)
			}
		})
	}
	long := append(bytes.Repeat([]byte(`{"node":"a"},`), maxLooks), []byte(`{"node":"a"}`)...)
	dir := t.TempDir()
	for file, content := range map[string][]byte{"bundle.yaml": []byte(oneNode("n.json")), "n.json": append(append([]byte("["), long...), ']')} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := judgeDir(dir); err == nil || !strings.Contains(err.Error(), "at most 200") {
		t.Errorf("%v", err)
	}
}

// A node whose file is damaged, or that brings a detector down, is unknown; the others are judged.
func TestOneNodeOfABundleFailsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	all := map[string]v1alpha1.History{}
	for _, n := range []string{"damaged", "panics", "healthy"} {
		all[n] = v1alpha1.History{{Node: n, At: at}}
	}
	if _, err := WriteBundle(dir, v1alpha1.Bundle{}, all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nodes", "damaged.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d := JudgeBundle(b, func(h v1alpha1.History) []v1alpha1.Finding {
		if h.Last().Node == "panics" {
			panic("defect")
		}
		return []v1alpha1.Finding{{Node: h.Last().Node, Failure: "cni"}}
	})
	why := map[string]string{}
	for _, u := range d.Unknown {
		why[u.Node] = u.Why
	}
	if d.Healthy || len(d.Findings) != 1 || !strings.Contains(why["damaged"], "is damaged") || !strings.Contains(why["panics"], "defect") {
		t.Errorf("%+v", d)
	}
}

// What was never a bundle's stays, and what is written is for its owner alone.
func TestBundleDeletesNothingOfOthers(t *testing.T) {
	one := map[string]v1alpha1.History{"n": {{Node: "n"}}}
	never := t.TempDir()
	precious := filepath.Join(never, "nodes", "inventory.csv")
	if err := os.Mkdir(filepath.Dir(precious), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(precious, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteBundle(never, v1alpha1.Bundle{}, one); err == nil || !strings.Contains(err.Error(), "not a bundle") {
		t.Errorf("%v", err)
	}
	earlier := filepath.Join(t.TempDir(), "b")
	for range 2 {
		if _, err := WriteBundle(earlier, v1alpha1.Bundle{}, one); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{"": 0o700, "nodes": 0o700, "bundle.yaml": 0o600, "nodes/n.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(earlier, path)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
	}
	stranger := filepath.Join(earlier, "nodes", "inventory.csv")
	if err := os.WriteFile(stranger, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteBundle(earlier, v1alpha1.Bundle{}, one); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("%v", err)
	}
	for _, f := range []string{precious, stranger} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(earlier))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A bundle never takes the place of anything else, and none is written that nobody would read.
func TestBundleKeepsOthersFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stranger.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteBundle(dir, v1alpha1.Bundle{}, nil); err == nil || !strings.Contains(err.Error(), "stranger.txt") {
		t.Errorf("a folder with other things in it was taken: %v", err)
	}
	dir = filepath.Join(dir, "large")
	long := v1alpha1.History{{Journal: v1alpha1.Journal{Lines: []v1alpha1.LogLine{{Text: strings.Repeat("long ", maxNodeFile/5)}}}}}
	if _, err := WriteBundle(dir, v1alpha1.Bundle{}, map[string]v1alpha1.History{"a": long}); err == nil || !strings.Contains(err.Error(), "record fewer") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a bundle that was refused is there")
	}
}

// Values of recorded looks lost, emptied and made absurd: a detector may be wrong about such a node, but comes back.
func TestMutatedLooks(t *testing.T) {
	files, err := filepath.Glob("../../detectors/all/testdata/recorded/*/nodes/*" + compressed)
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	judged := 0
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = unpack(raw); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var tree any
			if err := json.Unmarshal(raw, &tree); err != nil {
				t.Fatal(err)
			}
			changed, err := json.Marshal(mutate(r, tree))
			if err != nil {
				t.Fatal(err)
			}
			var h v1alpha1.History
			if json.Unmarshal(changed, &h) != nil || len(h) == 0 {
				continue // not an observation any more: the reader refuses it
			}
			judged++
			var v verdictOn
			if err := judgeInto(&v, "n", h, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if judged < len(files) {
		t.Errorf("only %d mutations were observations", judged)
	}
}

func mutate(r *rand.Rand, v any) any {
	const oneIn = 200
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if r.IntN(oneIn) == 0 {
				delete(v, k)
				continue
			}
			v[k] = mutate(r, v[k])
		}
	case []any:
		for i := range v {
			v[i] = mutate(r, v[i])
		}
		if r.IntN(oneIn) == 0 {
			return v[:r.IntN(len(v)+1)]
		}
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil && r.IntN(oneIn) == 0 {
			return []string{"", "/", "…", "\x00", "::/", "- -", strings.Repeat("x", 5000), v[:r.IntN(len(v)+1)]}[r.IntN(8)]
		}
	case float64:
		if v == float64(int64(v)) && r.IntN(oneIn) == 0 {
			return []float64{0, -1, 1, 1 << 30}[r.IntN(4)]
		}
	}
	return v
}

// FuzzBundle: a header and a node's file of any content never bring the reader or a detector down.
func FuzzBundle(f *testing.F) {
	looks := []string{"[{}]", "[null]", `[{"api":{}}]`, `[{"api":{"pods":[{}],"node":{}},"units":{"kubelet":{}}}]`, `[{"at":"x"}]`, "[1]", `[{},{"api":{"events":[{}]}}]`}
	files, err := filepath.Glob("../../detectors/all/testdata/recorded/*/nodes/*" + compressed)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files[:3] {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if raw, err = unpack(raw); err != nil {
			f.Fatal(err)
		}
		var h []json.RawMessage
		if err := json.Unmarshal(raw, &h); err != nil {
			f.Fatal(err)
		}
		looks = append(looks, "["+string(h[len(h)-1])+"]")
	}
	for _, l := range looks {
		f.Add([]byte(oneNode("n.json")), []byte(l), false)
		f.Add([]byte(oneNode("n.json")), []byte(l[:len(l)/2]), true)
	}
	f.Add([]byte(oneNode("../n.json")), []byte("[{}]"), false)
	f.Add([]byte("format: 9"), []byte{}, false)
	f.Fuzz(func(t *testing.T, header, node []byte, pack bool) {
		dir := t.TempDir()
		if pack {
			node = packed(t, node)
			header = bytes.ReplaceAll(header, []byte("n.json"), []byte("n.json"+compressed))
		}
		for name, content := range map[string][]byte{"bundle.yaml": header, "n.json": node, "n.json" + compressed: node} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := judgeDir(dir); err != nil && strings.Contains(err.Error(), "judging node") {
			t.Error(err)
		}
	})
}
