package dataplane

import (
	"github.com/meshgw/meshgw/dataplane/compress"
	"github.com/meshgw/meshgw/dataplane/message"
)

// compress compresses r if the rule says so, the client accepts it and nothing
// forbids it.
func (s *Server) compress(x *Exchange, r *reply) {
	if x.rule == nil || x.rule.Compress == nil || !compress.Compressible(x.rule.Compress, r.status, r.length, r.fields) {
		return
	}
	r.fields = compress.Vary(r.fields)
	encoding := compress.Accepted(x.Fields, x.rule.Compress.Encodings)
	if encoding == "" || x.isHead() || compress.ForbidsTransform(x.Fields) {
		return
	}
	c, err := s.encoders.Get(encoding)
	if err != nil {
		s.log.Error().Err(err).Str("encoding", encoding).Msg("answer not compressed")
		return
	}
	x.encoding = c
	if r.stream != nil {
		c.Stream(r.stream, r.length < 0)
		r.stream, r.length = c, message.Chunked
	} else {
		body, err := c.Whole(r.body)
		if err != nil {
			s.log.Error().Err(err).Str("encoding", encoding).Msg("answer not compressed")
			return
		}
		r.body, r.length = body, int64(len(body))
		x.out = r.length
	}
	r.fields = compress.Encoded(r.fields, encoding)
}
