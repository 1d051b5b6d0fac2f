package api

import (
	"fmt"
	"net/http"
	"strings"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an answer that says no, in the form of RFC 9457. As an error it is
// the refusal of a node that was reached.
type Problem struct {
	Type   string    `json:"type,omitempty"` // a URI; absent stands for about:blank
	Title  string    `json:"title"`
	Status int       `json:"status"` // the HTTP status
	Detail string    `json:"detail,omitempty"`
	Errors []Mistake `json:"errors,omitempty"` // of a body that is not valid, every one
}

// Mistake is one thing wrong with a route file.
type Mistake struct {
	Field  string `json:"field,omitempty"`  // as in routes[2].hosts[0]
	Object string `json:"object,omitempty"` // as in route/orders
	Line   int    `json:"line,omitempty"`   // from 1; 0 where unknown
	Column int    `json:"column,omitempty"` // from 1
	Detail string `json:"detail"`
}

// NewProblem returns the Problem of an HTTP status with its usual title.
func NewProblem(status int, format string, args ...any) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Misasked reports whether p says that the question does not parse, which is no
// answer to it. A nil p says nothing.
func (p *Problem) Misasked() bool { return p != nil && p.Status == http.StatusBadRequest }

// Error says what was refused on the first line and each mistake on one more.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	if p.Detail == "" {
		fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	}
	for _, m := range p.Errors {
		b.WriteString("\n" + m.String())
	}
	return b.String()
}

// String writes m as line:column: field: detail, without what is unknown.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", m.Line, m.Column)
	}
	if m.Field != "" {
		b.WriteString(m.Field + ": ")
	}
	return b.String() + m.Detail
}
