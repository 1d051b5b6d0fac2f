package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/gossip"
)

// Files of a data dir.
const (
	lockFile     = "lock"
	identityFile = "identity.json"
	peersFile    = "peers.json"
	tableFile    = "routes.snapshot"
	limitsFile   = "limits.snapshot"
	bansFile     = "bans.snapshot"
	sealedFile   = "sealed.json"
)

// dataDir is where a node keeps what must survive a restart. One process holds it at
// a time.
type dataDir struct {
	path string
	lock *os.File
	log  zerolog.Logger
}

// openDataDir makes the directory if it is absent and locks it.
func openDataDir(path string, log zerolog.Logger) (*dataDir, error) {
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
	return &dataDir{path: path, lock: lock, log: log}, nil
}

func (d *dataDir) close() { _ = d.lock.Close() } // and so unlocks

// read returns the content of a file, nil when there is none.
func (d *dataDir) read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// write replaces a file so that a crash at any moment leaves the old or the new
// content, and when it returns nil the new.
func (d *dataDir) write(name string, data []byte) error {
	path := filepath.Join(d.path, name)
	if err := writeSynced(path+".new", data); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// remove deletes a file, if it is there.
func (d *dataDir) remove(name string) {
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Warn().Err(err).Msg("file not removed")
	}
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

// setAside renames a file that cannot be used, and keeps it for inspection.
func (d *dataDir) setAside(name string, why error) {
	aside := filepath.Join(d.path, name+".damaged")
	d.log.Error().Err(why).Str("kept_as", aside).Msg("unusable file set aside: " + name)
	if err := os.Rename(filepath.Join(d.path, name), aside); err != nil {
		d.log.Error().Err(err).Msg("set file aside")
	}
}

// identity identifies a node, whatever its name and address.
type identity struct {
	ID          string `json:"id"`
	Incarnation uint32 `json:"incarnation"` // counts the starts
}

// begin returns the identity of this start and has it on disk: the incarnation
// counts even if the process dies at once.
func (d *dataDir) begin() (identity, error) {
	var id identity
	data, err := d.read(identityFile)
	if err != nil {
		return id, fmt.Errorf("read identity: %w", err)
	}
	if data != nil {
		if err := json.Unmarshal(data, &id); err != nil {
			d.setAside(identityFile, err)
			id = identity{}
		}
	}
	if id.ID == "" {
		id = identity{ID: uuid.NewString()}
	}
	id.Incarnation++
	if data, err = json.Marshal(id); err == nil {
		err = d.write(identityFile, data)
	}
	if err != nil {
		return id, fmt.Errorf("write identity: %w", err)
	}
	return id, nil
}

// peers returns those of an earlier run. Without them a node still has its seeds,
// so nothing here is fatal.
func (d *dataDir) peers() []gossip.Peer {
	data, err := d.read(peersFile)
	if err != nil || data == nil {
		return nil
	}
	var peers []gossip.Peer
	if err := json.Unmarshal(data, &peers); err != nil {
		d.setAside(peersFile, err)
		return nil
	}
	return peers
}
