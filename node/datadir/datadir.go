package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"
)

const lockFile = "lock"

// Dir is a data dir. One process holds it at a time.
type Dir struct {
	path string
	lock *os.File
	log  zerolog.Logger
}

// Open makes the directory if it is absent and locks it.
func Open(path string, log zerolog.Logger) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("open data dir: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data dir %s is in use by another meshgw process", path)
		}
		return nil, fmt.Errorf("lock data dir: %w", err)
	}
	return &Dir{path: path, lock: lock, log: log}, nil
}

// Close unlocks the directory.
func (d *Dir) Close() { _ = d.lock.Close() }

// Read returns the content of a file, nil when there is none.
func (d *Dir) Read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// ReadJSON returns what WriteJSON wrote; the zero value when there is nothing, or
// nothing that can be read, which is set aside.
func ReadJSON[T any](d *Dir, name string) (T, error) {
	var v, none T
	data, err := d.Read(name)
	if err != nil || data == nil {
		return none, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		d.SetAside(name, err)
		return none, nil
	}
	return v, nil
}

// Write replaces a file so that a crash at any moment leaves the old or the new
// content, and when it returns nil the new.
func (d *Dir) Write(name string, data []byte) error {
	if err := Replace(filepath.Join(d.path, name), data); err != nil {
		return err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// WriteJSON is Write of v as JSON.
func (d *Dir) WriteJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.Write(name, data)
}

// Previous ends the name of what WriteKeeping keeps.
const Previous = ".previous"

// WriteKeeping is Write, and keeps the content before it, should the new one be
// damaged later: best effort, as not every file system has links. At no moment is
// there none: where the last one was damaged and set aside, the one before it stays.
func (d *Dir) WriteKeeping(name string, data []byte) error {
	path := filepath.Join(d.path, name)
	_ = os.Remove(path + Previous + ".new") // of a crash
	if os.Link(path, path+Previous+".new") == nil {
		_ = os.Rename(path+Previous+".new", path+Previous)
	}
	return d.Write(name, data)
}

// Remove deletes a file, if it is there.
func (d *Dir) Remove(name string) {
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Warn().Err(err).Msg("file not removed")
	}
}

// SetAside renames a file that cannot be used, and keeps it for inspection.
func (d *Dir) SetAside(name string, why error) {
	aside := filepath.Join(d.path, name+".damaged")
	d.log.Error().Err(why).Str("kept_as", aside).Msg("unusable file set aside: " + name)
	if err := os.Rename(filepath.Join(d.path, name), aside); err != nil {
		d.log.Error().Err(err).Msg("set file aside")
	}
}

// Replace writes a file of any directory: who reads it sees the old or the new
// content.
func Replace(path string, data []byte) error {
	if err := writeSynced(path+".new", data); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // within the data dir
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
