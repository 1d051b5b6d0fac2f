package routetable

import (
	"fmt"
	"strings"
)

// Severity says whether a Problem refuses the change it was found in.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// String returns the severity's name in lower case.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText writes what String returns.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one mistake in a Spec, with its place where it came from a file.
type Problem struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`   // from 1; 0 = not known
	Column   int      `json:"column,omitempty"` // from 1, in characters
	Path     string   `json:"field,omitempty"`  // routes[0].match[1].path
	Object   string   `json:"object,omitempty"` // route/orders
	Source   string   `json:"source,omitempty"` // the offending line
	Message  string   `json:"detail"`

	between bool // see Between
}

// Between reports whether the mistake lies between objects: each may be sound by
// itself, as one is that names another that is not there.
func (p *Problem) Between() bool { return p.between }

// Error returns the problem on one line: file:line:column: path: message.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		b.WriteByte(':')
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		if p.Object != "" {
			fmt.Fprintf(&b, " (%s)", p.Object)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Show returns the problem as Error does and, under it, the offending line with
// a caret under the place.
func (p *Problem) Show() string {
	if p.Source == "" {
		return p.Error()
	}
	// Tabs are kept under tabs, so that the caret stands right at any width.
	var pad strings.Builder
	column := 1
	for _, r := range p.Source {
		if column >= p.Column {
			break
		}
		if r != '\t' {
			r = ' '
		}
		pad.WriteRune(r)
		column++
	}
	number := fmt.Sprintf("%d", p.Line)
	gutter := strings.Repeat(" ", len(number))
	return fmt.Sprintf("%s\n  %s | %s\n  %s | %s^", p.Error(), number, p.Source, gutter, pad.String())
}

// Problems is every problem of a Spec, in the order of the objects.
type Problems []Problem

// Errors returns the problems that refuse the change.
func (ps Problems) Errors() Problems { return ps.of(Error) }

// Warnings returns the problems that are worth a look and refuse nothing.
func (ps Problems) Warnings() Problems { return ps.of(Warning) }

func (ps Problems) of(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Err returns the errors among ps as one error, a Problems, or nil.
func (ps Problems) Err() error {
	if errs := ps.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

// Error returns all problems, each with its line and caret. Of warnings that say the
// same, all but the first are told by their objects alone.
func (ps Problems) Error() string {
	alike := map[string][]string{} // the objects of such warnings
	for _, p := range ps {
		if p.Severity == Warning {
			alike[p.Message] = append(alike[p.Message], p.Object)
		}
	}
	var shown []string
	for i := range ps {
		p := &ps[i]
		objects, isWarning := alike[p.Message]
		switch {
		case p.Severity != Warning:
			shown = append(shown, p.Show())
		case isWarning:
			shown = append(shown, p.Show())
			if len(objects) > 1 {
				shown = append(shown, fmt.Sprintf("  the same of %d more: %s", len(objects)-1, strings.Join(objects[1:], ", ")))
			}
			delete(alike, p.Message)
		}
	}
	return strings.Join(shown, "\n")
}
