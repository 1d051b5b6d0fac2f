package quota

import "time"

// wheel remembers when to look at which entry. It belongs to the control loop.
type wheel struct {
	turned  int64 // the last spoke that was visited
	spokes  [128][]*entry
	spent   [][]*entry // for reuse: few spokes have anything on them at a time
	pending int
}

func (w *wheel) spoke(at time.Duration) int64 { return int64(at / wheelDiv) }

// add puts e on the spoke of at, a second ahead at most.
func (w *wheel) add(e *entry, at time.Duration) {
	s := min(max(w.spoke(at), w.turned+1), w.turned+int64(len(w.spokes))-1)
	i := s % int64(len(w.spokes))
	if n := len(w.spent); w.spokes[i] == nil && n > 0 {
		w.spokes[i], w.spent = w.spent[n-1], w.spent[:n-1]
	}
	w.spokes[i] = append(w.spokes[i], e)
	w.pending++
}

// turn takes what is due off the wheel, into list.
func (w *wheel) turn(now time.Duration, list []*entry) []*entry {
	to := w.spoke(now)
	if to-w.turned > int64(len(w.spokes)) {
		w.turned = to - int64(len(w.spokes))
	}
	for w.turned < to {
		w.turned++
		i := w.turned % int64(len(w.spokes))
		if w.spokes[i] == nil {
			continue
		}
		list = append(list, w.spokes[i]...)
		w.pending -= len(w.spokes[i])
		if s := reuse(w.spokes[i]); s != nil {
			w.spent = append(w.spent, s)
		}
		w.spokes[i] = nil
	}
	return list
}

// next is when the next spoke with something on it is due, or never.
func (w *wheel) next(never time.Duration) time.Duration {
	if w.pending == 0 {
		return never
	}
	for s := w.turned + 1; ; s++ {
		if len(w.spokes[s%int64(len(w.spokes))]) > 0 {
			return min(never, time.Duration(s)*wheelDiv)
		}
	}
}
