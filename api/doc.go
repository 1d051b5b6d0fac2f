// Package api is the admin API of a node as Go types, with a client of it.
//
// The names in the json tags are the contract that dashboards and scripts
// depend on: a field may be added, none is renamed or removed within /v1. The
// package imports nothing else of meshgw, so that a program which only talks
// to a mesh need not contain one.
package api
