package logs

import (
	"runtime"
	"sync/atomic"
)

// page is memory that many append to at once without a lock: each reserves its
// part by moving end on, copies, and then says so. It is closed by moving end
// beyond all reach, for good: who comes late with it must not find it open again.
type page struct {
	data   []byte
	end    atomic.Int64 // of what is reserved
	copied atomic.Int64 // bytes
	refuse atomic.Int64 // where the first line began that did not fit; 0 = all did
}

const closed = 1 << 62

// append copies line, unless it does not fit. first tells that the page was
// empty, half that this line is the one that makes it half full.
func (p *page) append(line []byte) (fits, first, half bool) {
	end := p.end.Add(int64(len(line)))
	begin, size := end-int64(len(line)), int64(len(p.data))
	if end > size {
		if begin <= size { // all that come after begin further on
			p.refuse.Store(begin + 1)
		}
		return false, false, false
	}
	copy(p.data[begin:end], line)
	p.copied.Add(int64(len(line)))
	return true, begin == 0, begin < size/2 && end >= size/2
}

// close ends what can be appended, waits for those who still copy, and returns
// what there is.
func (p *page) close() []byte {
	end := p.end.Add(closed) - closed
	for end > int64(len(p.data)) { // somebody did not fit, and says where in a moment
		if refused := p.refuse.Load(); refused > 0 {
			end = refused - 1
			break
		}
		runtime.Gosched()
	}
	for p.copied.Load() < end {
		runtime.Gosched()
	}
	return p.data[:end]
}
