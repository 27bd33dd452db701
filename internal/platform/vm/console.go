package vm

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// consoleEnd is how much of a guest's console is read for its last words.
const consoleEnd = 16 << 10

// lastWords is the end of a guest's console, for errors and progress.
func lastWords(dir string, n int) string {
	b, err := os.ReadFile(filepath.Join(dir, consoleFile))
	if err != nil {
		return ""
	}
	if len(b) > consoleEnd {
		b = b[len(b)-consoleEnd:]
	}
	return text.Tail(plain(string(b)), n)
}

// plain takes the escape sequences out that systemd colours its console with.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '[' {
			for i += 2; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
			continue
		}
		if s[i] != '\r' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
