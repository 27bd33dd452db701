package text

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Hidden tells a rune that a terminal obeys instead of showing it, or that changes how what stands beside it is read: control
// characters other than the line's end and the tab, and those that turn the direction of writing.
func Hidden(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	}
	return r == 0x061c || r == 0xfeff || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// Plain shows hidden runes as they are written in JSON, and what is no UTF-8 by a replacement character. Whatever comes from a node, a
// registry or a bundle goes through it on its way to a terminal.
func Plain(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, Hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if Hidden(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// PlainAll makes all strings plain that v, a pointer, leads to. What v shares with others must be a copy.
func PlainAll(v any) { plainAll(reflect.ValueOf(v)) }

func plainAll(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			plainAll(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			plainAll(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			plainAll(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if e := v.MapIndex(k); e.Kind() == reflect.String {
				v.SetMapIndex(k, reflect.ValueOf(Plain(e.String())).Convert(e.Type()))
			} else {
				plainAll(e)
			}
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(Plain(v.String()))
		}
	}
}

// ownColours are the terminal attributes that this program writes itself.
var ownColours = regexp.MustCompile("\x1b\\[(0|1|2|3[1-3]|1;3[1-3])?m")

// Writer writes plain text, with no attributes but this program's own.
func Writer(to io.Writer) io.Writer { return plainWriter{to} }

type plainWriter struct{ to io.Writer }

func (w plainWriter) Write(p []byte) (int, error) {
	var b strings.Builder
	at := 0
	for _, m := range ownColours.FindAllIndex(p, -1) {
		b.WriteString(Plain(string(p[at:m[0]])))
		b.Write(p[m[0]:m[1]])
		at = m[1]
	}
	b.WriteString(Plain(string(p[at:])))
	if _, err := io.WriteString(w.to, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
