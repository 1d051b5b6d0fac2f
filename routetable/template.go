package routetable

import (
	"fmt"
	"slices"
	"strings"
)

// Variable is what of a request a placeholder stands for.
type Variable uint8

// The variables, in the order of their names in variables.
const (
	NoVariable     Variable = iota // text as it is
	RequestID                      // as in x-request-id
	RequestMethod                  // GET
	RequestScheme                  // http or https, by the word of trusted proxies
	RequestHost                    // in its canonical form, without port
	RequestPath                    // in its canonical form, before any rewrite
	RequestQuery                   // as it came, without "?"
	RequestAttempt                 // how often it is tried, with this try
	RequestTimeout                 // ms that are left for the head of the answer; empty where nothing bounds that
	ClientIP                       // behind trusted proxies
	TenantName                     // empty where there is none
	RouteName
	NodeName
	NodeRegion
	ErrorStatus   // of error pages
	ErrorReason   // likewise, as in x-meshgw-error
	RequestHeader // the first field of that name; empty where there is none
)

const headerPlaceholder = "request.header."

func variables() []string {
	return []string{
		"", "request.id", "request.method", "request.scheme", "request.host", "request.path", "request.query", "request.attempt", "request.timeout_ms",
		"client.ip", "tenant.name", "route.name", "node.name", "node.region", "error.status", "error.reason",
	}
}

// headerVariables are those that header values may hold.
func headerVariables() []string {
	return append(variables()[1:ErrorStatus:ErrorStatus], headerPlaceholder+"NAME")
}

// pageVariables are those that error pages may hold: nothing that the client says.
func pageVariables() []string { return []string{"request.id", "error.status", "error.reason"} }

const maxParts = 64 // of one text

// Part is a piece of a text with placeholders.
type Part struct {
	Variable Variable
	Text     string // of NoVariable; of RequestHeader the name in lower case
}

// IsPlaceholder reports whether name, found in ${name}, is one: names of the
// environment have no dots.
func IsPlaceholder(name string) bool { return strings.Contains(name, ".") && isToken(name) }

// parts takes a text apart at its placeholders, ${NAME} with a dot in the name. $${NAME}
// stands for ${NAME} itself. Where there is no placeholder all is nil, and plain the
// text.
func parts(text string, allowed []string) (all []Part, plain string, err error) {
	var b strings.Builder // since the last placeholder
	for {
		before, after, found := strings.Cut(text, "${")
		if !found {
			break
		}
		name, rest, closed := strings.Cut(after, "}")
		literal, escaped := strings.CutSuffix(before, "$")
		switch {
		case !closed || !IsPlaceholder(name):
			b.WriteString(before + "${")
			rest = after
		case escaped:
			b.WriteString(literal + "${" + name + "}")
		default:
			p, known := readVariable(name, allowed)
			if !known || len(all) >= maxParts {
				return nil, "", fmt.Errorf("expected ${%s}, %d at most, got ${%s}", strings.Join(allowed, "}, ${"), maxParts/2, name)
			}
			b.WriteString(before)
			all = append(appendPlain(all, &b), p)
		}
		text = rest
	}
	b.WriteString(text)
	if all == nil {
		return nil, b.String(), nil
	}
	return appendPlain(all, &b), "", nil
}

// appendPlain appends the text in b, and empties it.
func appendPlain(all []Part, b *strings.Builder) []Part {
	if b.Len() > 0 {
		all = append(all, Part{Text: b.String()})
	}
	b.Reset()
	return all
}

func readVariable(name string, allowed []string) (Part, bool) {
	if header, ok := strings.CutPrefix(name, headerPlaceholder); ok {
		return Part{RequestHeader, strings.ToLower(header)}, slices.Contains(allowed, headerPlaceholder+"NAME") && header != ""
	}
	return Part{Variable: Variable(max(0, slices.Index(variables(), name)))}, slices.Contains(allowed, name)
}
