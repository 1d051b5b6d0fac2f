package dataplane

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

// ownFields are the fields that the gateway adds to answers, made once.
type ownFields struct {
	date, requestID []byte
	node            []message.Field // x-meshgw-node and -region

	policy, remaining []byte        // of limits
	legacy            [3][]byte     // of limits: X-RateLimit-Limit, -Remaining and -Reset
	via               message.Field // x-meshgw-via

	stamp atomic.Pointer[dateStamp]
}

// dateStamp is the value of Date for one second.
type dateStamp struct {
	second int64
	text   []byte
}

func (n *ownFields) init(node, region string) {
	n.date, n.requestID = []byte("date"), []byte("x-request-id")
	n.via = message.Field{Name: []byte("x-meshgw-via"), Value: []byte(token(node))}
	n.policy, n.remaining = []byte("ratelimit-policy"), []byte("ratelimit")
	n.legacy = [3][]byte{[]byte("x-ratelimit-limit"), []byte("x-ratelimit-remaining"), []byte("x-ratelimit-reset")}
	n.node = []message.Field{
		{Name: []byte("x-meshgw-node"), Value: []byte(token(node))},
		{Name: []byte("x-meshgw-region"), Value: []byte(token(region))},
	}
}

// date returns the value of Date, which is formatted once a second.
func (s *Server) date(now time.Time) []byte {
	second := now.Unix()
	if d := s.ownFields.stamp.Load(); d != nil && d.second == second {
		return d.text
	}
	d := &dateStamp{second: second, text: now.UTC().AppendFormat(nil, http.TimeFormat)}
	s.ownFields.stamp.Store(d)
	return d.text
}
