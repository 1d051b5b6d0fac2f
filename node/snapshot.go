package node

import (
	"os"
	"path/filepath"
)

// previous ends the name of the table's snapshot before the last.
const previous = ".previous"

// writeTable writes the table's snapshot and keeps the one before it, should the
// new one be damaged later: best effort, as not every file system has links. At
// no moment is there none: where the last one was damaged and set aside, the one
// before it stays.
func (d *dataDir) writeTable(data []byte) error {
	path := filepath.Join(d.path, tableFile)
	_ = os.Remove(path + previous + ".new") // of a crash
	if os.Link(path, path+previous+".new") == nil {
		_ = os.Rename(path+previous+".new", path+previous)
	}
	return d.write(tableFile, data)
}

// restore takes the table's snapshot, or where it is damaged the one before it.
func (r *routes) restore() error {
	for _, name := range []string{tableFile, tableFile + previous} {
		data, err := r.dir.read(name)
		if err != nil {
			return err
		}
		if data == nil {
			continue
		}
		err = r.store.Restore(data)
		if err == nil {
			if name != tableFile {
				r.log.Warn().Uint64("routes_version", r.store.Table().Version()).
					Msg("the snapshot before the damaged one is served; the mesh may have a newer table")
			}
			return nil
		}
		r.dir.setAside(name, err)
	}
	return nil
}
