package op

import (
	"reflect"
	"testing"
)

// TestParts: a node is asked in small parts, and each operation asks for parts that there are.
func TestParts(t *testing.T) {
	node := reflect.TypeFor[Sys]()
	for i := range node.NumField() {
		if part := node.Field(i); part.Type.NumMethod() > 11 {
			t.Errorf("%s has %d methods", part.Name, part.Type.NumMethod())
		}
	}
	for kind := range kinds {
		o := Unmarshal(kind, []byte("{}"))
		if u, ok := o.(*Unknown); ok {
			t.Fatalf("%s: %s", kind, u.Reason)
		}
		Attach(o, Sys{}) // panics where it asks for what is no part
	}
}
