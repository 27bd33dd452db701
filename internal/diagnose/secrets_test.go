package diagnose

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
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
		"AWS key":     "aws_access_key_id = " + "AKIAIOSFODNN7" + "EXAMPLE",
		"AWS secret":  "AWS_SECRET_ACCESS_KEY=" + "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
		"environment": `Environment="PGPASSWORD=` + `hunter2hunter2" TZ=UTC`,
		"flag":        "exec /app --db-password=" + "hunter2hunter2 --v=2",
		"code host":   "clone with ghp_" + "hunter2hunter2hunter2hunter2hunter2",
		"docker auth": `{"auths":{"registry.example.test":{"auth":"` + "cm9ib3Q6aHVudGVyMmh1bnRlcjI=" + `"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := v1alpha1.History{{Node: "n", Journal: v1alpha1.Journal{Lines: []v1alpha1.LogLine{{Source: "kubelet", Text: "request failed: " + secret}}}}}
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
			if _, err := WriteCompactBundle(dir, v1alpha1.Bundle{}, map[string]v1alpha1.History{"n": h}); err != nil {
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

// Wherever in an observation a secret stands, it is gone from the bundle: it is planted in every string there is.
func TestSecretsAnywhere(t *testing.T) {
	const secret = "hunter2hunter2"
	var o v1alpha1.Observation
	places := plant(reflect.ValueOf(&o).Elem(), "see https://robot:"+secret+"@registry.example.test/ and password="+secret, 12)
	if places < 500 {
		t.Fatalf("only %d places", places)
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if _, err := WriteBundle(dir, v1alpha1.Bundle{}, map[string]v1alpha1.History{"n": {o}}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "nodes", "n.json"))
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(string(raw), secret); i >= 0 {
		t.Errorf("the bundle holds it: %s", raw[max(0, i-200):i+20])
	}
	if n := strings.Count(string(raw), redacted); n < places {
		t.Errorf("%d of %d places were redacted", n, places)
	}
}

// plant sets every string below v, one element of every list and map, and counts them.
func plant(v reflect.Value, s string, depth int) (n int) {
	if !v.CanSet() || depth == 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
		return 1
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if n = plant(p.Elem(), s, depth-1); n > 0 {
			v.Set(p)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return 0
		}
		p := reflect.MakeSlice(v.Type(), 1, 1)
		if n = plant(p.Index(0), s, depth-1); n > 0 {
			v.Set(p)
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		if n = plant(e, s, depth-1); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), e)
		}
	case reflect.Struct:
		switch v.Interface().(type) {
		case time.Time, metav1.Time, metav1.MicroTime, resource.Quantity, intstr.IntOrString, metav1.FieldsV1:
			return 0
		case metav1.ObjectMeta:
			v.FieldByName("Annotations").Set(reflect.ValueOf(map[string]string{"example.test/note": s}))
			return 1
		}
		for i := range v.NumField() {
			n += plant(v.Field(i), s, depth-1)
		}
	}
	return n
}
