// Package bounds reads what others wrote, a node's answer or a file that was sent, without taking more memory or time than that is
// worth. It knows nothing of what is read.
package bounds

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// maxDepth of a JSON document: an observation has 15.
	maxDepth = 64
	// maxObjects of a JSON document: a hundred looks at a busy node have half of that. An object takes up to 2 kB once it is decoded.
	maxObjects = 1 << 20
	// freeObjects may be as short as they like; beyond them an object takes at least bytesPerObject of the text, or three bytes, "{},",
	// would become two thousand. Recorded looks have 128 bytes for each.
	freeObjects    = 2000
	bytesPerObject = 48
)

// ErrNotFile is a pipe, a device or a folder where a file is read.
var ErrNotFile = errors.New("it is not a file")

// TooMuchError is input beyond a bound.
type TooMuchError struct{ Text string }

func (e *TooMuchError) Error() string { return e.Text }

// JSON refuses a document that would take far more memory than its text, or a parser's whole stack. It looks at brackets alone: whether
// the document is well-formed is the decoder's to say.
func JSON(raw []byte) error {
	depth, objects, text := 0, 0, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if text {
			switch c {
			case '\\':
				i++
			case '"':
				text = false
			}
			continue
		}
		switch c {
		case '"':
			text = true
		case '{', 'n': // a null in a list is a whole element, too
			objects++
			if c == '{' {
				depth++
			}
		case '[':
			depth++
		case '}', ']':
			depth--
		}
		if depth > maxDepth {
			return &TooMuchError{fmt.Sprintf("it is nested more than %d levels deep", maxDepth)}
		}
	}
	if objects > maxObjects || objects > freeObjects && len(raw)/objects < bytesPerObject {
		return &TooMuchError{fmt.Sprintf("its %d bytes hold %d objects, which is more than any observation or report has", len(raw), objects)}
	}
	return nil
}

// Stat refuses what is no regular file of at most so many bytes, without opening it: a pipe would be waited for.
func Stat(fi os.FileInfo, most int64) error {
	switch {
	case !fi.Mode().IsRegular():
		return ErrNotFile
	case fi.Size() > most:
		return TooLarge(fi.Size(), most)
	}
	return nil
}

// TooLarge says that something has more bytes than are read.
func TooLarge(size, most int64) error {
	return &TooMuchError{fmt.Sprintf("it has %s, and at most %s are read", human(size), human(most))}
}

func human(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1<<10-1)>>10)
}

// ReadFile reads a regular file of at most so many bytes.
func ReadFile(path string, most int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err == nil {
		err = Stat(fi, most)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, most) // it may grow, or be another one by now
}

// ReadAll reads at most so many bytes.
func ReadAll(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = TooLarge(int64(len(b)), most)
	}
	return b, err
}
