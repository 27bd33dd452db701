package journal

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestSealed: a sealed record says nothing to the eye and everything to the node.
func TestSealed(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		r := &Record{Version: Version, Seq: 3, ID: "l07-abcde-i1", Run: "l07-abcde", Injection: json.RawMessage(`{"mechanism":"cni-config"}`), State: "injected", Sealed: sealed}
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(b, []byte("cni-config")); got == sealed {
			t.Errorf("sealed %t, and the mechanism stands in it: %t", sealed, got)
		}
		back, err := decode(b)
		if err != nil || back.Sealed != sealed || back.Seq != 3 || !bytes.Contains(back.Injection, []byte("cni-config")) {
			t.Errorf("%+v, %v", back, err)
		}
	}
	if _, err := decode([]byte(`{"version":1,"sealed":"AAAA"}`)); err == nil {
		t.Error("a damaged record was read")
	}
}
