package quota

import "time"

// urgency orders what is sent when the byte budget is short.
type urgency int

const (
	awaited  urgency = iota // answers to starving nodes, and to releases
	holding                 // reports with requests waiting on them
	yielding                // releases, and answers to recalls
	hungry                  // reports of starving nodes
	routine                 // the rest
	recalls
	urgencies
)

// A Datagram goes to one node, best effort. Data is valid until the next Poll
// into the same Output.
type Datagram struct {
	To   NodeID
	Data []byte
}

// outbox gathers what is to be sent, and packs it together per node. Reports
// are made when they leave, so that what had to wait says the newest. It belongs
// to the control loop.
type outbox struct {
	reports   [urgencies][]*entry
	replies   [urgencies][]address
	grants    map[address]grant // the newest answer to each; a RECALL has none
	handovers []legacy
	budget    bucket // bytes
	rate      float64
	flushed   time.Duration
	open      map[NodeID]int // which datagram of the Output still has room
	queued    int
}

// address is whom a reply goes to, and of which key it is.
type address struct {
	to  NodeID
	key Key
}

// repliesMost bounds each queue of replies. What is dropped is asked for again.
const repliesMost = 1 << 14

// answer queues an answer. One that is still queued is overtaken, in its place.
func (o *outbox) answer(u urgency, a address, g grant) {
	_, waits := o.grants[a]
	if !waits && len(o.replies[u]) == repliesMost {
		return
	}
	o.grants[a] = g
	if !waits {
		o.replies[u] = append(o.replies[u], a)
		o.queued++
	}
}

// recall queues a RECALL.
func (o *outbox) recall(a address) {
	if len(o.replies[recalls]) < repliesMost {
		o.replies[recalls] = append(o.replies[recalls], a)
		o.queued++
	}
}

// handOver queues HANDOVERs.
func (o *outbox) handOver(all []legacy) {
	all = all[:min(len(all), 2*handoversMost-len(o.handovers))]
	o.handovers = append(o.handovers, all...)
	o.queued += len(all)
}

// pop takes the answer to a from the queue and writes it.
func (o *outbox) pop(u urgency, a address, b []byte) []byte {
	if u == recalls {
		return appendRecall(b, a.key)
	}
	g := o.grants[a]
	delete(o.grants, a)
	return g.append(b)
}

// report queues the next report of e, which is locked.
func (o *outbox) report(e *entry) {
	if e.queued {
		return
	}
	u := routine
	switch {
	case e.releasing:
		u = yielding
	case e.line != nil:
		u = holding
	case e.starving:
		u = hungry
	}
	e.queued = true
	o.reports[u] = append(o.reports[u], e)
	o.queued++
}

// due is when the next flush is allowed and of use, or never.
func (o *outbox) due(now, never time.Duration) time.Duration {
	if o.queued == 0 {
		return never
	}
	at := o.flushed + coalesce
	if o.budget.tokens < 0 {
		at = max(at, o.budget.at+fromSeconds(-o.budget.tokens/o.rate)+time.Millisecond)
	}
	return max(at, now)
}

// start begins a flush, if it is time for one.
func (o *outbox) start(now time.Duration) bool {
	if o.queued == 0 || now < o.flushed+coalesce {
		return false
	}
	o.budget.fill(now, o.rate, o.rate/4)
	o.flushed = now
	clear(o.open)
	return o.budget.tokens >= 0
}

// put appends what write writes to the open datagram for to, or to a new one.
func (o *outbox) put(out *Output, h header, to NodeID, write func([]byte) []byte) {
	i, ok := o.open[to]
	if !ok || len(out.Datagrams[i].Data)+entryMost > MaxDatagram {
		i = out.next()
		out.Datagrams[i].To = to
		out.Datagrams[i].Data = h.append(out.Datagrams[i].Data[:0])
		o.open[to] = i
		o.budget.tokens -= headerSize + packetCost
	}
	d := &out.Datagrams[i]
	before := len(d.Data)
	d.Data = write(d.Data)
	o.budget.tokens -= float64(len(d.Data) - before)
}

// Output is what Poll returns. It may be used again, which saves its buffers.
type Output struct {
	Datagrams []Datagram
	Resolved  []Resolved
}

func (o *Output) reset() {
	o.Datagrams, o.Resolved = o.Datagrams[:0], o.Resolved[:0]
}

// next returns the index of one more datagram, with an old buffer if there is one.
func (o *Output) next() int {
	n := len(o.Datagrams)
	if n < cap(o.Datagrams) {
		o.Datagrams = o.Datagrams[:n+1]
	} else {
		o.Datagrams = append(o.Datagrams, Datagram{})
	}
	if o.Datagrams[n].Data == nil {
		o.Datagrams[n].Data = make([]byte, 0, MaxDatagram)
	}
	return n
}
