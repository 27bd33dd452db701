// Package lockfile keeps processes from doing the same thing at the same time. The kernel drops the lock of one that dies, however it
// dies; the file says who holds it.
package lockfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Holder is who holds a lock.
type Holder struct {
	process.ID
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// Self is this process.
func Self() Holder {
	words := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	return Holder{ID: process.Self(), Command: text.Cut(strings.Join(words, " "), 120), Since: time.Now()}
}

// HeldError is a lock that another process has.
type HeldError struct {
	What   string
	Holder Holder
}

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return e.What + " is held by another run"
	}
	return fmt.Sprintf("%s is held by process %d (%s) since %s; wait for it or choose another node",
		e.What, e.Holder.PID, e.Holder.Command, e.Holder.Since.Local().Format("15:04:05"))
}

// Take takes the lock of a file; held by another process it is a *HeldError. The file and its folder are made where they are missing.
func Take(file, what string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", what, err)
	}
	return take(file, what, 0o600)
}

// poll is how often a held lock is tried again: flock has no wait with a deadline.
const poll = 50 * time.Millisecond

// Wait takes the lock of a file. While another process has it, a task tells what is waited for, such as "another sickbay that makes
// the guest".
func Wait(ctx context.Context, file, what string) (unlock func(), err error) {
	return wait(ctx, what, func() (func(), error) { return Take(file, file) })
}

func wait(ctx context.Context, what string, take func() (func(), error)) (unlock func(), err error) {
	var task progress.Task
	for {
		unlock, err = take()
		held := (*HeldError)(nil)
		if errors.As(err, &held) && task == nil {
			task = progress.From(ctx).Start("wait for "+what, 0)
			task.Detail("process %d (%s) holds %s", held.Holder.PID, held.Holder.Command, held.What)
		}
		if held != nil {
			select {
			case <-time.After(poll):
				continue
			case <-ctx.Done():
				err = fmt.Errorf("wait for %s: %w: %w", what, context.Cause(ctx), held)
			}
		}
		if task != nil {
			task.End(err)
		}
		return unlock, err
	}
}

// Machine is a folder of locks that all users of this machine share: two of them may use one container engine, and its kernel is one.
// Files in it are anybody's to write, and are opened so that no link leads elsewhere. What they say is shown, and never acted on.
type Machine struct{ dir string }

// machineDirs are folders where anybody may make files and nobody removes another's, the first that is there is taken.
var machineDirs = []string{"/run/lock", "/tmp"}

// OfMachine finds that folder.
func OfMachine() (Machine, error) {
	for _, dir := range machineDirs {
		st, err := os.Stat(dir)
		if err != nil || st.Mode()&os.ModeSticky == 0 || st.Mode().Perm()&0o002 == 0 {
			continue
		}
		return At(filepath.Join(dir, "sickbay"))
	}
	return Machine{}, fmt.Errorf("find a folder for locks of all users: none of %s is one", strings.Join(machineDirs, ", "))
}

// At makes another folder one for the locks of all users.
func At(dir string) (Machine, error) {
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		err = os.Chmod(dir, 0o777|os.ModeSticky)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Machine{}, fmt.Errorf("make a folder for locks of all users: %w", err)
	}
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return Machine{}, fmt.Errorf("%s is no folder for locks (%w): remove it", dir, err)
	}
	return Machine{dir}, nil
}

// File is the file of a lock, whose name may hold any characters but a separator.
func (m Machine) File(name string) string { return filepath.Join(m.dir, filepath.Base(name)+".lock") }

// Take is like the function of that name.
func (m Machine) Take(name, what string) (release func(), err error) {
	return take(m.File(name), what, 0o666)
}

// Wait is like the function of that name.
func (m Machine) Wait(ctx context.Context, name, what string) (unlock func(), err error) {
	return wait(ctx, what, func() (func(), error) { return m.Take(name, what) })
}

func take(file, what string, mode os.FileMode) (release func(), err error) {
	// Made first, and then opened without O_CREATE: in a folder of all users the kernel refuses that for another user's file.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Close()) // whatever the umask is
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("lock %s: %w", what, err)
	}
	l := flock.New(file, flock.SetFlag(os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", what, err)
	}
	if !ok {
		holder, _ := read(file) // half-written: the holder took it this moment
		return nil, &HeldError{What: what, Holder: holder}
	}
	raw, err := json.Marshal(Self())
	if err == nil {
		err = write(file, raw)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", what, err), l.Unlock())
	}
	return func() {
		// Emptied and not removed: a file removed under somebody who waits for it would be locked twice.
		_ = write(file, nil)
		_ = l.Unlock()
	}, nil
}

func write(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func read(file string) (Holder, error) {
	var h Holder
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return h, err
	}
	defer f.Close()
	return h, json.NewDecoder(io.LimitReader(f, 4096)).Decode(&h)
}

// Elsewhere tells which other process holds the lock of a file, by what that has written: no lock is taken, for somebody who wants it
// right now would be refused for nothing. A holder that was killed could not empty the file, and does not count.
func Elsewhere(file string) (Holder, bool) {
	h, err := read(file)
	return h, err == nil && h.PID != os.Getpid() && h.Alive()
}

// Held tells whether a process holds a lock. For the moment of the question it holds it itself, and who tries to take it then is
// refused: ask only about locks that nobody waits for.
func Held(file string) bool {
	l := flock.New(file, flock.SetFlag(os.O_RDONLY))
	ok, err := l.TryRLock()
	if ok {
		_ = l.Unlock()
	}
	return err == nil && !ok
}
