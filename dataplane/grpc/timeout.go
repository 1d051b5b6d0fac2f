package grpc

import (
	"strconv"
	"strings"
	"time"
)

// ParseTimeout reads the value of grpc-timeout: up to 8 digits and a unit. The
// result is at most limit; false if the value is malformed.
func ParseTimeout(value []byte, limit time.Duration) (time.Duration, bool) {
	const letters = "HMSmun"
	units := [len(letters)]time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond, time.Nanosecond}
	if len(value) < 2 || len(value) > 9 {
		return 0, false
	}
	digits, letter := value[:len(value)-1], value[len(value)-1]
	n, err := strconv.ParseUint(string(digits), 10, 32)
	at := strings.IndexByte(letters, letter)
	switch {
	case err != nil || at < 0:
		return 0, false
	case time.Duration(n) > limit/units[at]:
		return limit, true
	}
	return time.Duration(n) * units[at], true
}

// AppendTimeout appends the value of grpc-timeout for d, in the finest unit in
// which it has at most 8 digits, and at least 1 of it.
func AppendTimeout(b []byte, d time.Duration) []byte {
	const most = 99_999_999
	for _, unit := range []struct {
		length time.Duration
		letter byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}} {
		if n := int64(d / unit.length); n <= most {
			return append(strconv.AppendInt(b, max(1, n), 10), unit.letter)
		}
	}
	return append(strconv.AppendInt(b, min(most, int64(d/time.Hour)), 10), 'H')
}
