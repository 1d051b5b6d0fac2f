package dataplane

import (
	"net/http"
	"sync/atomic"
	"time"
)

// names are the fields that every answer gets, made once.
type names struct {
	date, requestID []byte
	node            []Field // x-meshgw-node and -region

	policy, remaining []byte    // of limits
	older             [3][]byte // of limits: X-RateLimit-Limit, -Remaining and -Reset
	via               Field     // x-meshgw-via

	stamp atomic.Pointer[dateStamp]
}

// dateStamp is the value of Date for one second.
type dateStamp struct {
	second int64
	text   []byte
}

func (n *names) init(node, region string) {
	n.date, n.requestID = []byte("date"), []byte("x-request-id")
	n.via = Field{Name: []byte("x-meshgw-via"), Value: []byte(token(node))}
	n.policy, n.remaining = []byte("ratelimit-policy"), []byte("ratelimit")
	n.older = [3][]byte{[]byte("x-ratelimit-limit"), []byte("x-ratelimit-remaining"), []byte("x-ratelimit-reset")}
	n.node = []Field{
		{Name: []byte("x-meshgw-node"), Value: []byte(token(node))},
		{Name: []byte("x-meshgw-region"), Value: []byte(token(region))},
	}
}

// date returns the value of Date, made anew once a second.
func (s *Server) date(now time.Time) []byte {
	second := now.Unix()
	if d := s.names.stamp.Load(); d != nil && d.second == second {
		return d.text
	}
	d := &dateStamp{second: second, text: now.UTC().AppendFormat(nil, http.TimeFormat)}
	s.names.stamp.Store(d)
	return d.text
}
