package dataplane

import "github.com/meshgw/meshgw/routetable"

// page returns what the route wants said instead of the JSON of an error; nil where
// it does not care, and to calls of gRPC, whose errors have no body.
func (x *Exchange) page(r *refusal) *routetable.PageRule {
	if x.rule == nil || x.grpc {
		return nil
	}
	return x.rule.ErrorPage(r.statusCode(), r.code.String())
}

// refusedElsewhere reports whether the answer is an error of another gateway for
// which the route has a page: it is then said here.
func (s *Server) refusedElsewhere(x *Exchange) bool {
	if x.endpoint.gateway == "" || !x.rule.HasErrorPages() {
		return false
	}
	for i := range x.answer.fields {
		if f := &x.answer.fields[i]; equalFold(f.Name, "x-meshgw-error") {
			r := refusal{code: codeOf(f.Value), status: x.answer.status, detail: "Another gateway could not serve the request."}
			if r.code != NoError && x.page(&r) != nil {
				s.abandon(x)
				x.refused = &r
			}
		}
	}
	return x.refused != nil
}

// codeOf reads a code; NoError for what is none.
func codeOf(word []byte) Code {
	for c := NoRoute; c <= ForwardLoop; c++ {
		if string(word) == c.String() {
			return c
		}
	}
	return NoError
}
