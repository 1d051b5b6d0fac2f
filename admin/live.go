package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/meshgw/meshgw/api"
)

const (
	maxStreams   = 64               // at once; each is a page that somebody looks at
	streamWrites = 10 * time.Second // for one write: who reads slower is dropped
	streamBeats  = 15 * time.Second // between two signs of life, so that proxies keep an idle stream open
	lookTimeout  = 10 * time.Second
)

// live is what pages look at: it is gathered once for all of them, and not at all
// while there are none.
type live struct {
	node  Node
	woken chan struct{} // a first stream has come

	mu       sync.Mutex // guards the rest
	streams  map[*stream]struct{}
	latest   map[string][]byte  // by topic
	rest     context.CancelFunc // ends the gathering, where there is any
	draining bool
}

// stream is one page. It is told what has changed, and takes it when it can: what
// is overtaken meanwhile it never sees.
type stream struct {
	changed chan struct{}
	news    map[string]bool // topics; guarded by live.mu
}

func newLive(node Node) *live {
	return &live{node: node, woken: make(chan struct{}, 1), streams: map[*stream]struct{}{}, latest: map[string][]byte{}}
}

// topic is one kind of event: what GET of its path answers, while it changes.
type topic struct {
	name  string
	every time.Duration
	look  func(context.Context) any
}

// topics lists them, the ones first that a page begins with. What asks all nodes is
// asked the more seldom the more there are.
func (l *live) topics(nodes int) []topic {
	mesh := 2*time.Second + time.Duration(nodes)*30*time.Millisecond
	return []topic{
		{"status", time.Second, func(context.Context) any { return l.node.Status() }},
		{"mesh", time.Second, func(context.Context) any { return l.node.Mesh() }},
		{"limits", mesh, func(ctx context.Context) any { return l.node.Limits(ctx, "", true) }},
		{"traffic", mesh, func(ctx context.Context) any { return l.traffic(ctx) }},
		{"events", mesh, func(ctx context.Context) any { return l.node.Events(ctx, true) }},
		{"doctor", 5 * mesh, func(ctx context.Context) any { return l.node.Doctor(ctx) }},
	}
}

// traffic leaves out the routes of each node: they are most of it, and all together
// are there.
func (l *live) traffic(ctx context.Context) api.Traffic {
	t := l.node.Traffic(ctx, true)
	for i := range t.Nodes {
		t.Nodes[i].Routes = []api.RouteTraffic{}
	}
	return t
}

// run gathers until ctx ends.
func (l *live) run(ctx context.Context) {
	defer l.end()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.woken:
		}
		l.gather(ctx)
	}
}

// gather looks at every topic, each at its own pace, until nobody listens.
func (l *live) gather(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !l.begin(cancel) {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, t := range l.topics(len(l.node.Mesh().Members)) {
		wg.Go(func() {
			for {
				l.look(ctx, t)
				select {
				case <-ctx.Done():
					return
				case <-time.After(t.every):
				}
			}
		})
	}
}

// begin has cancel called when the last stream ends, unless it has ended already.
func (l *live) begin(cancel context.CancelFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = cancel
	return len(l.streams) > 0
}

func (l *live) look(ctx context.Context, t topic) {
	within, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	data, err := json.Marshal(t.look(within))
	if err != nil {
		panic(err) // the types of api always marshal
	}
	if ctx.Err() == nil {
		l.publish(t.name, data)
	}
}

func (l *live) publish(topic string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Equal(l.latest[topic], data) {
		return
	}
	l.latest[topic] = data
	for s := range l.streams {
		s.news[topic] = true
		s.wake()
	}
}

func (s *stream) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// end lets the streams end.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for s := range l.streams {
		s.wake()
	}
}

// add returns a stream that is told all that is known; nil where there are too
// many.
func (l *live) add() *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || len(l.streams) >= maxStreams {
		return nil
	}
	s := &stream{changed: make(chan struct{}, 1), news: map[string]bool{}}
	if len(l.streams) == 0 {
		clear(l.latest) // of when somebody looked last
	}
	for topic := range l.latest {
		s.news[topic] = true
	}
	l.streams[s] = struct{}{}
	s.wake()
	select {
	case l.woken <- struct{}{}:
	default:
	}
	return s
}

func (l *live) remove(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	if len(l.streams) == 0 && l.rest != nil {
		l.rest()
	}
}

// take returns what changed since s took it last, as server-sent events.
func (l *live) take(s *stream) (events []byte, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics(0) {
		if s.news[t.name] {
			events = fmt.Appendf(events, "event: %s\ndata: %s\n\n", t.name, l.latest[t.name])
		}
	}
	clear(s.news)
	return events, l.draining
}

// live answers server-sent events. JSON has no line breaks of its own here, so
// each is one line of data.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	mine := s.live.add()
	if mine == nil {
		w.Header().Set("Retry-After", "10")
		refuse(w, api.NewProblem(http.StatusServiceUnavailable, "as many pages as may, %d, look at this node already", maxStreams))
		return
	}
	defer s.live.remove(mine)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	beat := time.NewTicker(streamBeats)
	defer beat.Stop()
	events, ended := []byte(": hello\n\n"), false
	for !ended {
		if out.SetWriteDeadline(time.Now().Add(streamWrites)) != nil {
			return
		}
		if _, err := w.Write(events); err != nil || out.Flush() != nil {
			return // gone, or too slow
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			events = []byte(": still here\n\n")
		case <-mine.changed:
			events, ended = s.live.take(mine)
		}
	}
}
