package node

import "github.com/meshgw/meshgw/node/datadir"

const tableFile = "routes.snapshot"

// restore takes the table's snapshot, or where it is damaged the one before it.
func (r *routes) restore() error {
	for _, name := range []string{tableFile, tableFile + datadir.Previous} {
		data, err := r.dir.Read(name)
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
		r.dir.SetAside(name, err)
	}
	return nil
}
