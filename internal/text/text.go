// Package text shortens what a person reads.
package text

import "strings"

// Short is a text on one line, of at most n characters.
func Short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
