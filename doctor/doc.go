// Package doctor judges a mesh by what its nodes tell of themselves: one verdict
// for each line of a checklist, with the command to run next.
//
// It is pure: the node that asks gathers the Facts of all and hands them in with
// the time; see node. Facts travel as JSON, so fields are added and not changed.
package doctor
