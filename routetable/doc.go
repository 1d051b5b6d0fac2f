// Package routetable holds the objects of a route file, their validator, and the
// compiled table that requests are matched on. It is pure: it reads no file, no clock
// and no network. What a file looks like is for routefile to know, and how nodes come
// to have the same objects for replica.
package routetable
