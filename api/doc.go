// Package api has the types of a node's admin API, and a client for it.
//
// The names in json tags are a contract with dashboards and scripts: within /v1,
// fields may be added, none is renamed or removed. The package imports no other
// package of meshgw, so that a program that only talks to a mesh stays small.
package api
