package node

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
)

// fileWatch tells when files may have changed, also by a symlink on the way to
// them. Directories are watched, since editors and Kubernetes replace files
// instead of writing to them.
type fileWatch struct {
	watcher *fsnotify.Watcher // nil where the system has none
	changed chan struct{}     // holds a word at most
	log     zerolog.Logger

	mu      sync.Mutex
	watched map[string]bool // directories
	names   map[string]bool // that the files have in them
}

func watchFiles(log zerolog.Logger) *fileWatch {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn().Err(err).Msg("route file is polled, not watched")
	}
	return &fileWatch{watcher: watcher, changed: make(chan struct{}, 1), log: log, watched: map[string]bool{}, names: map[string]bool{}}
}

func (w *fileWatch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // which ends run
	}
}

// follow watches what the paths lead through today.
func (w *fileWatch) follow(paths ...string) {
	if w.watcher == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, path := range paths {
		if file, err := filepath.EvalSymlinks(path); err == nil {
			w.names[filepath.Base(file)] = true
		}
		for _, dir := range directories(path, mostLinks) {
			if err := w.watcher.Add(dir); err != nil && !w.watched[dir] {
				w.log.Warn().Err(err).Str("directory", dir).Msg("route file is polled, not watched")
			}
			w.watched[dir] = true
		}
	}
}

// run passes on what happens until the watch is closed.
func (w *fileWatch) run() {
	if w.watcher == nil {
		return
	}
	for {
		select {
		case event, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if !w.concerns(event) {
				continue
			}
		case _, ok := <-w.watcher.Errors: // some events were lost
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// settle waits until nothing has changed for settleFile, for pollFile at most.
func (w *fileWatch) settle(ctx context.Context) {
	for most := time.Now().Add(pollFile); time.Now().Before(most); {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-time.After(settleFile):
			return
		}
	}
}

// concerns reports whether an event may change what a path leads to. Most that is
// written to a directory is not: a log beside the file is written all the time.
func (w *fileWatch) concerns(event fsnotify.Event) bool {
	if event.Op&^(fsnotify.Write|fsnotify.Chmod) != 0 {
		return true // an entry of the directory came or went
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[filepath.Base(event.Name)]
}

// mostLinks is how many symlinks a path is followed through.
const mostLinks = 16

// directories are those whose entries decide what path leads to: the file's own,
// and each that holds a symlink on the way.
func directories(path string, links int) []string {
	for p := path; links > 0 && p != filepath.Dir(p); p = filepath.Dir(p) {
		target, err := os.Readlink(p)
		if err != nil {
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(p), target)
		}
		return append(directories(target+path[len(p):], links-1), filepath.Dir(p))
	}
	return []string{filepath.Dir(path)}
}
