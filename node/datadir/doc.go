// Package datadir is the directory where a node keeps what must survive a restart.
// Each file is replaced whole, so that a crash at any moment leaves the old or the new
// content, and one that is damaged all the same is set aside.
package datadir
