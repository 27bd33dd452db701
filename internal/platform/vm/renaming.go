package vm

import (
	"bytes"
	"io"
)

// renaming passes lines on and replaces a path in them: what sickbay tells in the guest has to be right on this machine.
type renaming struct {
	w        io.Writer
	from, to string
	rest     []byte // a line that has not ended yet
}

func (r *renaming) Write(p []byte) (int, error) {
	r.rest = append(r.rest, p...)
	end := bytes.LastIndexByte(r.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	_, err := r.w.Write(bytes.ReplaceAll(r.rest[:end], []byte(r.from), []byte(r.to)))
	r.rest = append([]byte(nil), r.rest[end:]...)
	return len(p), err
}

// flush writes a last line that had no end.
func (r *renaming) flush() error {
	if len(r.rest) == 0 {
		return nil
	}
	_, err := r.w.Write(bytes.ReplaceAll(r.rest, []byte(r.from), []byte(r.to)))
	r.rest = nil
	return err
}
