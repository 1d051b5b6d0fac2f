// Package routefile reads and writes route files: YAML or JSON to a
// routetable.Spec, with the place of every mistake, and back. It opens no file
// itself; see Reading.
package routefile
