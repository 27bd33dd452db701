package diagnose

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sickbay-dev/sickbay/agent/redact"
	"github.com/sickbay-dev/sickbay/observation"
)

// secretsIn names what of a file, compressed or not, has the shape of a credential, by both rule sets: the bundle's, and the
// agent's. JSON is read string by string, so that a rule sees what a reader would; what was seen before is not looked at again,
// because looks repeat each other.
func secretsIn(t *testing.T, path string, seen map[string]bool) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, compressed) {
		raw, err = unpack(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		tree = string(raw)
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if seen[v] {
				return
			}
			seen[v] = true
			out = append(out, FindSecrets(v)...)
			if redact.Text(v) != v {
				out = append(out, "a secret by the agent's rules: "+redact.Text(v))
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(tree)
	return out
}

// Nothing that is kept for tests holds a credential.
func TestTestdataHoldsNoSecrets(t *testing.T) {
	files, seen := 0, map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains(strings.Split(filepath.ToSlash(path), "/"), "testdata") {
			return err
		}
		files++
		for _, s := range secretsIn(t, path, seen) {
			t.Errorf("%s holds %s", path, s)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("read %d files: %v", files, err)
	}
}

// The scan sees what was planted, and what writes a bundle takes it out.
func TestPlantedSecrets(t *testing.T) {
	for name, secret := range map[string]string{
		"token":       "Authorization: Bearer " + "eyJhbGciOiJSUzI1NiJ9" + "." + "eyJzdWIiOiJrdWJlbGV0In0" + "." + "c2lnbmF0dXJl",
		"key":         "-----BEGIN EC " + "PRIVATE KEY-----\nMHcCAQEEIPlanted\n-----END EC " + "PRIVATE KEY-----",
		"kubeconfig":  "client-key-data: " + "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSVBsYW50ZWQK",
		"url":         "https://robot:" + "hunter2hunter2" + "@registry.example.test/v2/",
		"docker auth": `{"auths":{"registry.example.test":{"auth":"` + "cm9ib3Q6aHVudGVyMmh1bnRlcjI=" + `"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := observation.History{{Node: "n", Journal: observation.Journal{Lines: []observation.LogLine{{Source: "kubelet", Text: "request failed: " + secret}}}}}
			raw, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			enc, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			planted := filepath.Join(t.TempDir(), "n.json.zst")
			if err := os.WriteFile(planted, enc.EncodeAll(raw, nil), 0o600); err != nil {
				t.Fatal(err)
			}
			if len(secretsIn(t, planted, map[string]bool{})) == 0 {
				t.Error("the scan does not see it")
			}
			dir := filepath.Join(t.TempDir(), "bundle")
			if err := WriteCompactBundle(dir, BundleInfo{}, map[string]observation.History{"n": h}); err != nil {
				t.Fatal(err)
			}
			if s := secretsIn(t, filepath.Join(dir, "nodes", "n.json.zst"), map[string]bool{}); len(s) > 0 {
				t.Errorf("the bundle holds %v", s)
			}
			back, _, err := FromBundle(dir)
			if err != nil || len(back["n"]) != 1 || !strings.Contains(back["n"][0].Journal.Lines[0].Text, "[redacted]") {
				t.Errorf("%+v %v", back, err)
			}
		})
	}
}
