package quota

import "time"

// part is an ask with its entry, locked.
type part struct {
	entry   *entry
	limit   *Limit
	key     Key
	cost    int64
	verdict Verdict
}

// Take asks for one request that is held to all of asks, MaxAsks at most, and
// counts it against all of them if all allow, else against none. It does not
// block and, but for Wait, does not allocate; any number of goroutines may call
// it at once. asks is not kept. Slots that it took are given back with Release.
func (e *Engine) Take(now time.Duration, asks []Ask) Decision {
	if len(asks) == 0 {
		return Decision{Verdict: Allow}
	}
	now -= e.epoch
	var room [MaxAsks]part
	v := e.view.Load()
	parts := e.lock(now, asks[:min(len(asks), MaxAsks)], v, room[:0])
	verdict := Allow
	if len(asks) > MaxAsks {
		verdict = Deny // never a limit silently skipped
	}
	for i := range parts {
		p := &parts[i]
		p.verdict = p.entry.judge(now, p.cost, v)
		if p.verdict == Deny || p.verdict == Wait && verdict == Allow {
			verdict = p.verdict
		}
	}
	d := Decision{Verdict: verdict}
	if verdict == Wait {
		e.hold(now, asks, parts, &d)
	}
	decided := &parts[0]
	for i := range parts {
		p := &parts[i]
		p.entry.act(now, p, d.Verdict, v)
		d.Flush = e.notify(p.entry, now, v.period) || d.Flush
		if d.tells(p, decided) {
			decided = p
		}
	}
	decided.entry.describe(&d, now, decided.cost, v)
	for i := range parts {
		parts[i].entry.mu.Unlock()
	}
	return d
}

// Release gives back the slots that an allowed request held. The other limits of
// asks keep what they took. It reports whether there is something to send.
func (e *Engine) Release(asks []Ask) (flush bool) {
	for i := range asks {
		a := &asks[i]
		if a.Limit.Slots == 0 {
			continue
		}
		en := e.table.find(a.Key)
		if en == nil {
			en = e.table.find(crowd(a.Limit))
		}
		if en == nil {
			continue
		}
		en.mu.Lock()
		if en.slots != nil {
			en.refund(a.cost())
			if en.line != nil {
				en.asking = true // serves them, and tells
			}
			e.wake(en)
			flush = flush || en.asking
		}
		en.mu.Unlock()
	}
	return flush
}

// lock finds and locks the entries of asks, in the order of their keys so that
// two requests never hold what the other needs. Asks of one key become one part.
func (e *Engine) lock(now time.Duration, asks []Ask, v *view, parts []part) []part {
	for i := range asks {
		a := &asks[i]
		en := e.table.obtain(now, a.Key, a.Limit, v)
		parts = insert(parts, part{entry: en, limit: a.Limit, key: en.key, cost: a.cost()})
	}
	for i := range parts {
		p := &parts[i]
		p.entry.mu.Lock()
		for p.entry.gone { // evicted since; its key is the same, and so is its place
			p.entry.mu.Unlock()
			p.entry = e.table.revive(now, p.key, p.limit, v)
			p.entry.mu.Lock()
		}
		if p.entry.limit != p.limit {
			p.entry.rescale(p.limit)
		}
		p.entry.fill(now, v)
	}
	return parts
}

// insert keeps parts sorted by key.
func insert(parts []part, p part) []part {
	i := len(parts)
	for i > 0 && parts[i-1].key > p.key {
		i--
	}
	if i > 0 && parts[i-1].key == p.key {
		parts[i-1].cost += p.cost
		return parts
	}
	parts = append(parts, part{})
	copy(parts[i+1:], parts[i:])
	parts[i] = p
	return parts
}

// judge returns the limit's verdict, and takes nothing.
func (e *entry) judge(now time.Duration, cost int64, v *view) Verdict {
	switch {
	case e.available(now, cost, v) || e.waived(now, v):
		return Allow
	case e.holds(now):
		return Wait
	default:
		return Deny
	}
}

// waived reports whether the limit is not kept while this node is cut off.
func (e *entry) waived(now time.Duration, v *view) bool {
	return e.limit.Open && !e.limit.Local && v.held(now) < 0.5
}

// act does what follows from the verdict on the whole request. A limit that
// would have allowed what another refuses has nothing to learn from it.
func (e *entry) act(now time.Duration, p *part, verdict Verdict, v *view) {
	trifle := p.verdict == Allow && e.negligible(now, p.cost, v)
	e.seen = now
	if verdict == Deny && p.verdict == Allow {
		return
	}
	if trifle {
		e.spend(p.cost)
		e.acked = e.count
		return
	}
	e.demand.wake(now, v.period)
	e.demand.arrived += float32(p.cost)
	e.unit = max(e.unit, clamp32(p.cost))
	if p.verdict == Allow {
		if e.available(now, p.cost, v) {
			e.spend(p.cost)
		}
		if e.low(v) {
			e.ask(now, v.period)
		}
		return
	}
	if e.limit.Local || now < e.denyUntil {
		return
	}
	e.starving = true
	if e.slots != nil && p.verdict == Deny {
		e.slots.refused = min(e.slots.refused+p.cost, e.limit.Slots)
	}
	e.ask(now, v.period)
	if p.verdict == Wait {
		e.askForWaiters(now)
	}
}

// hold puts the request into the line of every limit that has to ask its home,
// or refuses it where the line is full.
func (e *Engine) hold(now time.Duration, asks []Ask, parts []part, d *Decision) {
	patience := maxHold
	for i := range parts {
		if p := &parts[i]; p.verdict == Wait {
			patience = min(patience, e.patience(p.entry))
		}
	}
	e.lineMu.Lock()
	defer e.lineMu.Unlock()
	if e.line.full() {
		d.Verdict = Deny
		return
	}
	w := e.line.add(now+patience, asks)
	for i := range parts {
		p := &parts[i]
		if p.verdict == Wait {
			p.entry.join(w)
		} else {
			w.take(p.key)
		}
	}
	d.Ticket, d.Until = w.ticket, w.until+e.epoch
	d.Flush = !e.polls(now + coalesce)
}

// patience returns how long a request may wait for the entry's home.
func (e *Engine) patience(en *entry) time.Duration {
	if en.limit.Hold >= 0 {
		return min(en.limit.Hold, maxHold)
	}
	if en.home != nil && en.home.peak.Load() > 0 {
		return en.home.patience()
	}
	return e.trip.patience()
}

// wake puts the entry before the control loop if it wants to be there.
func (e *Engine) wake(en *entry) (woken bool) {
	if en.limit.Local || !en.asking && (en.listed || en.settled()) {
		return false
	}
	e.table.wake(en)
	return true
}

// notify wakes the entry and reports whether Poll must be called for it: at once
// where it asks, within a period where it only has something to tell.
func (e *Engine) notify(en *entry, now, period time.Duration) (flush bool) {
	if en.asking {
		period = coalesce
	}
	return e.wake(en) && !e.polls(now+period)
}

// tells reports whether p has more to say on the decision than best: the refusal
// over the others, else the one with the least left.
func (d *Decision) tells(p, best *part) bool {
	if (p.verdict == d.Verdict) != (best.verdict == d.Verdict) {
		return p.verdict == d.Verdict
	}
	return p.entry.remaining() < best.entry.remaining()
}

// remaining estimates what is left of the limit in the whole mesh: what the home
// has told, without what was admitted here since.
func (e *entry) remaining() int64 {
	if s := e.slots; s != nil {
		if e.limit.Local {
			return max(0, e.limit.Slots-s.used)
		}
		return max(0, s.held-s.used, int64(float64(e.level)*float64(e.limit.Slots)))
	}
	left := e.have.tokens
	if !e.limit.Local {
		left = max(left, float64(e.level)*e.limit.Burst-float64(e.count-e.acked))
	}
	return int64(min(max(0, left), e.limit.Burst))
}

// describe fills in what a client may be told.
func (e *entry) describe(d *Decision, now time.Duration, cost int64, v *view) {
	l := e.limit
	d.Limit = l
	d.Degraded = !l.Local && (v.held(now) < 1 || e.cut(now))
	if d.Verdict != Deny {
		d.Remaining = e.remaining()
	}
	if d.Verdict == Allow && l.Slots == 0 { // this request is seen, be it told or not
		d.Remaining = min(d.Remaining, max(0, int64(l.Burst)-cost))
	}
	d.First = d.Verdict == Allow && e.count == cost
	if l.Slots > 0 {
		if d.Verdict == Deny {
			d.RetryAfter = time.Second // nobody knows how long requests take
		}
		return
	}
	if l.Rate <= 0 {
		d.RetryAfter = time.Hour
		return
	}
	d.Reset = fromSeconds((l.Burst - float64(d.Remaining)) / l.Rate)
	if d.Verdict == Deny {
		rate := l.Rate // at which tokens come to whoever asks the home for one
		if e.isLeased && !e.single {
			rate = max(float64(e.rate), l.Rate/float64(v.known))
		}
		d.RetryAfter = max(e.denyUntil-now, fromSeconds(max(0, float64(cost)-e.have.tokens)/rate))
	}
}
