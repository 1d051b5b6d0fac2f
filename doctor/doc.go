// Package doctor diagnoses a mesh by what its nodes report: one verdict for each
// check of a list, with the command to run next.
//
// It is pure: the node that is asked collects the Facts of all nodes and passes
// them in with the time; see package node. Facts travel as JSON, so fields may be
// added but not changed.
package doctor
