package routetable

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time written as Go writes it: 500ms, 30s, 5m. A bare
// 0 is accepted too.
type Duration time.Duration

// Bytes is a size written with a unit of 1024: 512, 64KiB, 10MiB, 1GiB.
type Bytes int64

// Rate is N events per second, minute, hour or day, written 100/s, 10/m, 5/h
// or 1/d.
type Rate struct {
	N   int64
	Per time.Duration
}

const day = 24 * time.Hour

// MarshalText writes d in the shortest form that reads back the same.
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String() // 5m0s, 1h0m0s
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return []byte(text), nil
}

// UnmarshalText reads what time.ParseDuration reads, except negative lengths.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return errors.New("expected a duration such as 500ms, 30s or 5m")
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON reads the written form, and a bare 0.
func (d *Duration) UnmarshalJSON(data []byte) error { return d.UnmarshalText(unquoted(data)) }

// MarshalText writes b with the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b != 0 && int64(b)%u.size == 0 {
			return []byte(strconv.FormatInt(int64(b)/u.size, 10) + u.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(b), 10), nil
}

// UnmarshalText reads a whole number of bytes, KiB, MiB, GiB or TiB.
func (b *Bytes) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "BKMGTi")
	unit, known := byteUnit(string(text[len(digits):]))
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 0 || n > math.MaxInt64/unit {
		return errors.New("expected a size such as 512, 64KiB or 10MiB")
	}
	*b = Bytes(n * unit)
	return nil
}

// UnmarshalJSON reads the written form, and a bare number of bytes.
func (b *Bytes) UnmarshalJSON(data []byte) error { return b.UnmarshalText(unquoted(data)) }

func byteUnit(name string) (size int64, known bool) {
	switch name {
	case "", "B":
		return 1, true
	case "KiB":
		return 1 << 10, true
	case "MiB":
		return 1 << 20, true
	case "GiB":
		return 1 << 30, true
	case "TiB":
		return 1 << 40, true
	}
	return 0, false
}

// String returns r as it is written in a route file.
func (r Rate) String() string {
	unit := "s"
	switch r.Per {
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	case day:
		unit = "d"
	}
	return strconv.FormatInt(r.N, 10) + "/" + unit
}

// MarshalText writes r as N/s, N/m, N/h or N/d.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads N/s, N/m, N/h or N/d; N is not negative.
func (r *Rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(number, 10, 64)
	per, known := ratePer(unit)
	if err != nil || !known || n < 0 {
		return fmt.Errorf("expected a rate such as 100/s, 10/m, 5/h or 1/d")
	}
	*r = Rate{N: n, Per: per}
	return nil
}

func ratePer(unit string) (per time.Duration, known bool) {
	switch unit {
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return day, true
	}
	return 0, false
}

// unquoted returns the text of a JSON string or number. The texts read here hold
// no escapes; one that does is refused by its reader.
func unquoted(data []byte) []byte {
	if n := len(data); n >= 2 && data[0] == '"' {
		return data[1 : n-1]
	}
	return data
}
