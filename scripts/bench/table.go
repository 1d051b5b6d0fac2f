//go:build linux

package main

import (
	"fmt"
	"slices"
)

// samples are figures by subject and column, one for each round.
type samples map[string]map[string][]float64

func (s samples) add(subject, column string, v float64) {
	if s[subject] == nil {
		s[subject] = map[string][]float64{}
	}
	s[subject][column] = append(s[subject][column], v)
}

func (s samples) median(subject, column string) float64 { return median(s[subject][column]) }

// ratio is the median of the rounds' ratios to ref.
func (s samples) ratio(subject, column, ref string) float64 {
	var all []float64
	for i, v := range s[subject][column] {
		if base := s[ref][column]; i < len(base) && base[i] > 0 {
			all = append(all, v/base[i])
		}
	}
	return median(all)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// table writes a heading and the head of a table.
func table(title string, columns ...string) {
	fmt.Printf("\n### %s\n\n", title)
	row(columns...)
	for range columns {
		fmt.Print("| --- ")
	}
	fmt.Println("|")
}

func row(cells ...string) {
	for _, c := range cells {
		fmt.Printf("| %s ", c)
	}
	fmt.Println("|")
}
