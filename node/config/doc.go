// Package config is the settings of a node: flags over environment over file over
// defaults, all from one table, checked as a whole and reported with their places.
package config
