package dataplane

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// interims passes on the interim answers of a call. net/http tells of them where
// it reads for every call of the connection, which no client may hold up: each is
// sent by a goroutine of its own, after the one before it.
type interims struct {
	front Front

	mu    sync.Mutex // guards the rest
	count int
	over  bool          // the answer itself is next
	sent  chan struct{} // closed when the last has been; nil = there was none
}

// within returns a context for the request, in which net/http finds whom to tell.
func (i *interims) within(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: i.came})
}

// came takes an interim answer in. An error ends the call.
func (i *interims) came(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count++; i.over || i.count > maxInterim {
		return errAnswerSyntax
	}
	if status == 100 { // the client's Expect was answered here
		return nil
	}
	before, sent := i.sent, make(chan struct{})
	i.sent = sent
	go func() {
		defer close(sent)
		if before != nil {
			<-before
		}
		i.front.Inform(status, appendFields(nil, header))
	}()
	return nil
}

// end returns when all have been sent; none is sent any more. It reports whether
// any came.
func (i *interims) end() bool {
	i.mu.Lock()
	i.over = true
	came, sent := i.count > 0, i.sent
	i.mu.Unlock()
	if sent != nil {
		<-sent
	}
	return came
}
