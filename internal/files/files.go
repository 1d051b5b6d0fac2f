// Package files opens files that a table or a route file names.
//
// What such a name leads to at each node nobody knows who writes it. So nothing is
// opened that could make the reader wait or that may never end: no pipe, no device.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var errNotRegular = errors.New("not a regular file")

// Open opens the regular file at path, or the one that a symlink there leads to.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	return os.Open(path)
}

// Read returns what is in the file at path, which is to be regular and to have limit
// bytes at most.
func Read(path string, limit int) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return data, err
}
