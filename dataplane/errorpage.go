package dataplane

import (
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// errorPage returns the route's page for a refusal, nil if it has none. gRPC
// calls get none, since their errors have no body.
func (x *Exchange) errorPage(r *refusal) *routetable.PageRule {
	if x.rule == nil || x.grpc {
		return nil
	}
	return x.rule.ErrorPage(r.statusCode(), r.code.String())
}

// refusedByGateway reports whether the answer is an error of another gateway
// for which the route has a page; the request is then refused here, with that
// page.
func (s *Server) refusedByGateway(x *Exchange) bool {
	if x.endpoint.gateway == "" || !x.rule.HasErrorPages() {
		return false
	}
	for i := range x.answer.Fields {
		if f := &x.answer.Fields[i]; message.EqualFold(f.Name, "x-meshgw-error") {
			r := refusal{code: codeOf(f.Value), status: x.answer.Status, detail: "Another gateway could not serve the request."}
			if r.code != NoError && x.errorPage(&r) != nil {
				s.abandon(x)
				x.refused = &r
			}
		}
	}
	return x.refused != nil
}

// codeOf returns the code with the name word, NoError if there is none.
func codeOf(word []byte) Code {
	for c := NoRoute; c <= ForwardLoop; c++ {
		if string(word) == c.String() {
			return c
		}
	}
	return NoError
}
