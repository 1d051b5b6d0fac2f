package quota

import (
	"math"
	"time"
)

// Poll does what is due and fills out with the datagrams to send and the answers
// to those who wait. It returns when it wants to be called again; earlier is
// never wrong, and soon is right after a Decision with Flush, and after Receive.
func (e *Engine) Poll(now time.Duration, out *Output) (next time.Duration) {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	e.due.Store(math.MaxInt64)
	out.reset()
	if now-e.lookedAt > time.Second {
		e.look(now) // vanished nodes are forgotten in time
	}
	v := e.view.Load()
	next = e.repeat(now, now+time.Second)
	e.awake(now, v)
	e.turn(now, v)
	e.flush(now, out, v)
	e.serveSelf(now, v)
	next = e.settle(now, next, out)
	e.tidy(now, v)
	if len(e.own) > 0 {
		next = min(next, e.own[0].due)
	}
	next = max(now, e.outbox.due(now, e.wheel.next(next)))
	e.due.Store(int64(next))
	return e.epoch + next
}

// polls reports whether Poll will be called until then as it asked for, and see
// what has been woken until now: no need then to call it at every request.
func (e *Engine) polls(until time.Duration) bool { return e.due.Load() <= int64(until) }

// awake looks at the entries that requests have pointed out.
func (e *Engine) awake(now time.Duration, v *view) {
	e.list = e.table.drain(e.list)
	for _, en := range e.list {
		en.mu.Lock()
		en.woken = false
		if !en.gone {
			if !en.listed {
				en.listed = true
				after := v.period
				if !en.isLeased && en.ample(v) {
					after = soonAgain + wheelDiv // spokes are early by up to that
				}
				e.wheel.add(en, now+after)
			}
			if en.slots != nil && en.line != nil {
				en.fill(now, v)
				e.serve(now, en, v)
			}
			if en.asking {
				e.outbox.report(en)
			}
		}
		en.mu.Unlock()
	}
	e.list = reuse(e.list)
}

// turn looks at the entries whose time has come.
func (e *Engine) turn(now time.Duration, v *view) {
	e.list = e.wheel.turn(now, e.list)
	for _, en := range e.list {
		en.mu.Lock()
		en.listed = false
		if !en.gone {
			if after := en.visit(now, v); after > 0 {
				en.listed = true
				e.wheel.add(en, now+after)
			}
			e.serve(now, en, v)
			if en.asking {
				e.outbox.report(en)
			}
		}
		en.mu.Unlock()
	}
	e.list = reuse(e.list)
}

// flush makes and packs what is to be sent, the most urgent first, as far as the
// budget reaches.
func (e *Engine) flush(now time.Duration, out *Output, v *view) {
	o := &e.outbox
	if !o.start(now) {
		return
	}
	h := header{e.self.id, e.self.incarnation}
	for u := range urgencies {
		n := 0
		for ; n < len(o.replies[u]) && o.budget.tokens >= 0; n++ {
			a := o.replies[u][n]
			o.put(out, h, a.to, func(b []byte) []byte { return o.pop(u, a, b) })
		}
		o.queued -= n
		o.replies[u] = rest(o.replies[u], n)

		n = 0 // what this node's own answers ask for waits for the next flush
		for queued := len(o.reports[u]); n < queued && o.budget.tokens >= 0; n++ {
			e.sendReport(now, out, h, o.reports[u][n], v)
		}
		o.queued -= n
		o.reports[u] = rest(o.reports[u], n)
	}
	n := 0 // last, since a node of an earlier version reads no further
	for ; n < len(o.handovers) && o.budget.tokens >= 0; n++ {
		o.put(out, h, o.handovers[n].to, o.handovers[n].append)
	}
	o.queued -= n
	o.handovers = rest(o.handovers, n)
}

// sendReport makes the report of en and puts it on its way.
func (e *Engine) sendReport(now time.Duration, out *Output, h header, en *entry, v *view) {
	en.mu.Lock()
	en.queued = false
	to := v.home(en.key, now)
	if en.gone || to == nil {
		en.mu.Unlock()
		return
	}
	en.fill(now, v)
	if e.leaving && (en.slots == nil || en.slots.used == 0) {
		en.releasing = true
	}
	r := en.report(now, to)
	tiny := en.limit.Rate/float64(v.known)*v.period.Seconds() < 0.5
	if !en.listed && to != e.self { // to see whether it was answered
		en.listed = true
		e.wheel.add(en, now+idleTicks*v.period)
	}
	en.mu.Unlock()
	if to != e.self {
		to.asked(now)
		e.outbox.put(out, h, to.id, r.append)
		return
	}
	if trip := time.Duration(e.trip.mean.Load()); tiny && trip > 0 {
		// A round trip late, or the home would win every race for a scarce token.
		e.own = append(e.own, ownReport{now + trip, en, r})
		return
	}
	e.serveOwn(now, en, &r, v)
}

// serveSelf answers those of this node's reports to itself that are due.
func (e *Engine) serveSelf(now time.Duration, v *view) {
	kept := e.own[:0]
	for i := range e.own {
		if e.own[i].due > now {
			kept = append(kept, e.own[i])
			continue
		}
		e.serveOwn(now, e.own[i].entry, &e.own[i].report, v)
	}
	clear(e.own[len(kept):])
	e.own = kept
}

func (e *Engine) serveOwn(now time.Duration, en *entry, r *report, v *view) {
	if g, ok := e.answer(now, e.self, e.self.incarnation, r); ok {
		e.granted(now, en, e.self, g, v)
	}
}

// Receive processes one datagram. An error means that nothing of it was used.
func (e *Engine) Receive(now time.Duration, data []byte) error {
	e.loop.Lock()
	defer e.loop.Unlock()
	now -= e.epoch
	h, msgs, err := decode(data, e.inbox[:0])
	if err != nil {
		e.stats.Malformed++
		return err
	}
	e.inbox = msgs
	from := e.peers[h.node]
	switch {
	case from == nil || from == e.self:
		e.stats.Strangers++
		return nil
	case h.incarnation < from.incarnation:
		e.stats.Stale++
		return nil
	case h.incarnation > from.incarnation:
		e.stats.Ahead++ // it says so again; else who lies about it would silence the node
		return nil
	}
	v := e.view.Load()
	for i := range msgs {
		switch m := &msgs[i]; m.kind {
		case kindReport, kindRelease:
			if g, ok := e.answer(now, from, h.incarnation, &m.report); ok {
				u := routine
				if m.report.Starving || g.Released {
					u = awaited
				}
				e.outbox.answer(u, address{from.id, g.Key}, g)
			}
		case kindLease, kindReleased:
			if en := e.table.find(m.grant.Key); en != nil {
				e.granted(now, en, from, m.grant, v)
			}
		case kindRecall:
			e.recalled(now, m.key)
		case kindHandover:
			e.inherit(now, from.id, &m.handover)
		}
	}
	return nil
}

// answer takes a report to its key's home, which this node is.
func (e *Engine) answer(now time.Duration, from *peer, incarnation uint32, r *report) (grant, bool) {
	l := e.limits[r.Limit]
	if l == nil || l.Local {
		e.stats.UnknownLimit++
		return grant{}, false
	}
	s := e.side(now, r.Key)
	h := e.homes[r.Key]
	if h == nil {
		if !e.makeRoom(now) {
			return grant{}, false
		}
		h = newHome(now, l, r.Claim, &s)
		e.homes[r.Key] = h
	}
	e.remember(now, r.Key, h, &s)
	charged := h.charged
	g, recall, ok := h.report(now, from.id, incarnation, r, &s)
	if h.charged != charged && l.durable() {
		e.news[r.Key] = struct{}{}
	}
	switch recall {
	case 0:
	case e.self.id:
		e.recalled(now, r.Key)
	default:
		e.outbox.recall(address{recall, r.Key})
	}
	return g, ok
}

// side is what this node knows of the mesh, as the home of k.
func (e *Engine) side(now time.Duration, k Key) side {
	v := e.view.Load()
	return side{
		share: v.held(now), rising: v.rising(now), known: v.known, settled: v.settled(now), steady: v.steady(now), doubt: v.doubtful(now),
		acting: v.first(k) != e.self, period: v.period, peers: e.peers, audit: e.audit,
	}
}

// granted takes a home's answer to its entry.
func (e *Engine) granted(now time.Duration, en *entry, from *peer, g grant, v *view) {
	en.mu.Lock()
	defer en.mu.Unlock()
	if en.gone || !en.grant(now, from, g, v) {
		return
	}
	if from != e.self {
		from.missed = 0
		trip := now - sentAt(g.Seq)
		from.sample(trip)
		e.trip.sample(trip)
	}
	e.serve(now, en, v)
	if en.asking {
		e.outbox.report(en)
	}
}

// recalled reports at once, as the home wishes: another starves.
func (e *Engine) recalled(now time.Duration, k Key) {
	en := e.table.find(k)
	if en == nil {
		return
	}
	en.mu.Lock()
	defer en.mu.Unlock()
	if en.gone || !en.isLeased || now-en.sent() <= 10*time.Millisecond {
		return
	}
	en.asking = true
	en.releasing = en.demand.arrived == 0 && en.demand.rate < 0.01 && (en.slots == nil || en.slots.used == 0)
	e.outbox.report(en)
}

// serve gives those who wait at en, which is locked, what has come, in order.
func (e *Engine) serve(now time.Duration, en *entry, v *view) {
	if en.line == nil {
		return
	}
	e.lineMu.Lock()
	defer e.lineMu.Unlock()
	left := en.waiters()[:0]
	blocked := false
	for _, w := range en.waiters() {
		cost := w.costAt(en.key)
		switch {
		case w.done:
		case !blocked && en.available(now, cost, v):
			en.spend(cost)
			w.take(en.key)
			if w.whole() {
				d := Decision{Verdict: Allow}
				en.describe(&d, now, cost, v)
				e.line.settle(w, d)
			}
		case now < en.denyUntil:
			d := Decision{Verdict: Deny}
			en.describe(&d, now, cost, v)
			e.line.settle(w, d)
		default:
			blocked = true
			left = append(left, w)
		}
	}
	clear(en.waiters()[len(left):])
	if *en.line = left; len(left) == 0 {
		en.line = nil
		return
	}
	en.askForWaiters(now)
}

// settle hands out the answers to those who waited, and takes back what the
// refused among them had got.
func (e *Engine) settle(now, next time.Duration, out *Output) time.Duration {
	e.lineMu.Lock()
	next = e.line.expire(now, next)
	settled := e.line.settled
	e.line.settled = nil
	e.lineMu.Unlock()
	for _, w := range settled {
		if w.answer.Verdict == Deny {
			e.takeBack(w)
		}
		out.Resolved = append(out.Resolved, Resolved{Ticket: w.ticket, Decision: w.answer})
	}
	return next
}

func (e *Engine) takeBack(w *waiter) {
	for i := range w.asks {
		if w.got&(1<<i) == 0 {
			continue
		}
		if en := e.table.find(w.asks[i].Key); en != nil {
			en.mu.Lock()
			en.refund(w.asks[i].cost())
			en.mu.Unlock()
		}
	}
}

// tidy drops what is not worth remembering, a little at a time: all of it in
// about ten seconds.
func (e *Engine) tidy(now time.Duration, v *view) {
	step := 10 * time.Second / time.Duration(len(e.table.shards))
	if now-e.tidiedAt < step {
		return
	}
	e.tidiedAt = now
	if e.tidied %= len(e.table.shards); e.tidied == 0 {
		e.prune(now)
	}
	e.tidyHomes(now, 1+2*len(e.homes)/len(e.table.shards))
	e.table.tidy(now, e.tidied, v)
	e.tidied++
}

// tidyHomes looks at some homes, others each time, and drops keys whose pool is full
// and which nobody uses: a new home would be the same.
func (e *Engine) tidyHomes(now time.Duration, some int) {
	for k, h := range e.homes {
		if some--; some < 0 {
			return
		}
		if now-h.seen > keepHome {
			s := e.side(now, k)
			if _, ok := h.weight(now, &s); ok && h.pool.tokens >= h.full() {
				delete(e.homes, k)
			}
		}
	}
}

// makeRoom makes room for one more home: of a few keys that nobody uses, the one
// whose pool is fullest goes. Where all are in use, the newcomer gets no home.
func (e *Engine) makeRoom(now time.Duration) bool {
	if len(e.homes) < e.cfg.MaxKeys {
		return true
	}
	const sample, most = 8, 64
	var victim Key
	least, looked, idle := 0.0, 0, 0
	for k, h := range e.homes {
		if looked++; looked > most || idle == sample {
			break
		}
		s := e.side(now, k)
		if w, ok := h.weight(now, &s); ok {
			if idle++; idle == 1 || w < least {
				victim, least = k, w
			}
		}
	}
	if idle == 0 {
		return false
	}
	delete(e.homes, victim)
	return true
}

// weight says how much would be lost with the home, and whether it may go: not
// while somebody uses it.
func (h *home) weight(now time.Duration, s *side) (float64, bool) {
	h.sweep(now, s)
	if h.live > 0 || h.silent > 0 {
		return 0, false
	}
	h.advance(now, h.budget(s))
	return 1 - h.pool.tokens/max(h.limit.Burst, 1), true
}
