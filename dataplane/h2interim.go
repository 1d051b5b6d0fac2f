package dataplane

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"sync"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
)

// interims passes on the interim answers of a call. net/http reports them from
// the goroutine that reads for all calls of the connection, which no client may
// block: each is sent by a goroutine of its own, after the previous one.
type interims struct {
	front Front

	mu    sync.Mutex // guards the rest
	count int
	over  bool          // none is to follow
	sent  chan struct{} // closed when the last one has been sent; nil = there was none
}

// traced returns a context for the request that makes net/http report to i.
func (i *interims) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: i.receive})
}

// receive is called with an interim answer. An error ends the call.
func (i *interims) receive(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count++; i.over || i.count > upstream.MaxInterim {
		return message.ErrAnswer
	}
	if status == 100 { // 100 Continue was sent to the client by the front
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

// wait waits until all have been sent, and lets none be sent any more. It reports
// whether there were any.
func (i *interims) wait() bool {
	i.mu.Lock()
	i.over = true
	came, sent := i.count > 0, i.sent
	i.mu.Unlock()
	if sent != nil {
		<-sent
	}
	return came
}
