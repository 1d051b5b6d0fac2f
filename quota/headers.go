package quota

import (
	"math"
	"strconv"
	"time"
)

// Quota is the limit as clients are told it: so many requests per window. For
// requests in flight the window is 0.
func (l *Limit) Quota() (requests int64, window time.Duration) {
	if l.Slots > 0 {
		return l.Slots, 0
	}
	w := max(l.Window, time.Second)
	if l.Window <= 0 && l.Rate > 0 {
		w = max(time.Second, fromSeconds(math.Ceil(l.Burst/l.Rate)))
	}
	return max(1, int64(math.Round(l.Rate*w.Seconds()))), w
}

// AppendPolicy appends the limit's member of the RateLimit-Policy field, as
// draft-ietf-httpapi-ratelimit-headers has it: "name";q=100;w=60. It does not
// change while the limit does not.
func (l *Limit) AppendPolicy(b []byte) []byte {
	q, w := l.Quota()
	b = append(appendString(b, l.Name), ";q="...)
	b = strconv.AppendInt(b, q, 10)
	if w == 0 {
		return append(b, `;qu="concurrent-requests"`...)
	}
	return strconv.AppendInt(append(b, ";w="...), int64(w/time.Second), 10)
}

// AppendRateLimit appends the value of the RateLimit field for d: "name";r=42;t=17.
// It appends nothing when no limit was asked.
func (d *Decision) AppendRateLimit(b []byte) []byte {
	if d.Limit == nil {
		return b
	}
	b = append(appendString(b, d.Limit.Name), ";r="...)
	b = strconv.AppendInt(b, max(0, d.Remaining), 10)
	if d.Limit.Slots > 0 {
		return b
	}
	return strconv.AppendInt(append(b, ";t="...), d.ResetSeconds(), 10)
}

// ResetSeconds is Reset in whole seconds, rounded up.
func (d *Decision) ResetSeconds() int64 { return seconds(d.Reset) }

// RetryAfterSeconds is the value of the Retry-After field: RetryAfter in whole
// seconds, at least 1, plus up to a fifth. random, 0 to 1, says how much, so that
// those who were refused together do not come back together.
func (d *Decision) RetryAfterSeconds(random float64) int64 {
	wait := float64(max(d.RetryAfter, time.Second))
	return seconds(time.Duration(min(wait*(1+0.2*random), math.MaxInt64/2)))
}

// seconds rounds up.
func seconds(d time.Duration) int64 {
	return int64((max(d, 0) + time.Second - 1) / time.Second)
}

// appendString appends an sf-string (RFC 9651, section 3.3.3). What such a string
// cannot hold becomes a question mark.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r > 0x7e:
			b = append(b, '?')
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}
