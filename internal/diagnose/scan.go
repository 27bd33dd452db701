package diagnose

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
)

// Suspicious are the words of a text that look random and are no name that Kubernetes, containerd or systemd gives: what no rule
// knows. They may be harmless: a warning, not an error.
func Suspicious(s string) []string {
	var out []string
	for _, w := range randomWord.FindAllString(s, -1) {
		if !strings.ContainsAny(w, "0123456789") || knownID.MatchString(w) || entropy(w) < 3.5 || pathLike(w) {
			continue
		}
		lower, upper := strings.ToUpper(w) != w, strings.ToLower(w) != w
		if lower && upper {
			out = append(out, w)
		}
	}
	return out
}

var (
	randomWord = regexp.MustCompile(`[A-Za-z0-9+/_=-]{16,}`)
	// knownID are numbers in hexadecimal, UUIDs, times, and names made of a word and a hash.
	knownID = regexp.MustCompile(`^(?:[0-9a-f]+|[0-9A-F]+|[0-9A-Za-z]{8}-(?:[0-9A-Za-z]{4}-){3}[0-9A-Za-z]{12}|\d{4}-\d{2}-\d{2}T?[\d-]*Z?|[A-Z][a-z]+(?:[A-Z]+[a-z]+)*[0-9]{0,3})$`)
)

// pathLike tells a path or an identifier of several words from a random word.
func pathLike(w string) bool {
	parts := strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune("/_-=+", r) })
	longest := 0
	for _, p := range parts {
		longest = max(longest, len(p))
	}
	return len(parts) > 1 && longest < 14
}

// entropy in bits for each character.
func entropy(s string) float64 {
	count := map[byte]int{}
	for i := range len(s) {
		count[s[i]]++
	}
	e := 0.0
	for _, n := range count {
		p := float64(n) / float64(len(s))
		e -= p * math.Log2(p)
	}
	return e
}

// suspiciousIn counts such words in the texts of a JSON document, each once.
func suspiciousIn(raw []byte) int {
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return 0
	}
	seen := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			for _, w := range Suspicious(v) {
				seen[w] = true
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
	return len(seen)
}
