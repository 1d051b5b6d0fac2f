package failover

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Verdicts and Loads travel as protobuf messages:
//
//	1 incarnation varint, 2 region string, 3 repeated message
//	Verdict: 1 upstream, 2 url, 3 check, 4 open, 5 since, 6 reason
//	Load:    1 upstream, 2 headroom, 3 foreign, 4 demand, 5 wanted (fixed32 floats)
//
// Absent fields are zero. Fields that a newer node adds are skipped.

// ErrMalformed is returned when the bytes of another node cannot be decoded; nothing
// of them is used then.
var ErrMalformed = errors.New("malformed")

// The bounds of what is accepted from others.
const (
	maxItems  = 20_000
	maxText   = 2048
	maxReason = 256
)

// AppendVerdicts appends the encoding of v to b.
func AppendVerdicts(b []byte, v Verdicts) []byte {
	b = appendHead(b, v.Incarnation, v.Region)
	var item []byte
	for _, x := range v.Verdicts {
		item = appendText(item[:0], 1, x.Upstream)
		item = appendText(item, 2, x.URL)
		item = appendNumber(item, 3, uint64(x.Check))
		item = appendNumber(item, 4, protowire.EncodeBool(x.Open))
		item = appendNumber(item, 5, uint64(x.Since))
		item = appendText(item, 6, strings.ToValidUTF8(x.Reason[:min(len(x.Reason), maxReason)], ""))
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), item)
	}
	return b
}

// AppendLoads appends the encoding of l to b. Rates lose precision beyond that
// of a float32.
func AppendLoads(b []byte, l Loads) []byte {
	b = appendHead(b, l.Incarnation, l.Region)
	var item []byte
	for _, x := range l.Loads {
		item = appendText(item[:0], 1, x.Upstream)
		item = appendRate(item, 2, x.Headroom)
		item = appendRate(item, 3, x.Foreign)
		item = appendRate(item, 4, x.Demand)
		item = appendRate(item, 5, x.Wanted)
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), item)
	}
	return b
}

// DecodeVerdicts decodes what AppendVerdicts wrote. The error is ErrMalformed,
// also for what exceeds the bounds.
func DecodeVerdicts(b []byte) (Verdicts, error) {
	var v Verdicts
	err := decodeAll(b, &v.Incarnation, &v.Region, func(item []byte) error {
		x, err := decodeVerdict(item)
		v.Verdicts = append(v.Verdicts, x)
		return err
	})
	if err != nil {
		return Verdicts{}, fmt.Errorf("decode verdicts: %w", err)
	}
	return v, nil
}

// DecodeLoads decodes what AppendLoads wrote. The error is ErrMalformed, also
// for what exceeds the bounds, rates that are no numbers included.
func DecodeLoads(b []byte) (Loads, error) {
	var l Loads
	err := decodeAll(b, &l.Incarnation, &l.Region, func(item []byte) error {
		x, err := decodeLoad(item)
		l.Loads = append(l.Loads, x)
		return err
	})
	if err != nil {
		return Loads{}, fmt.Errorf("decode loads: %w", err)
	}
	return l, nil
}

func decodeAll(b []byte, incarnation *uint32, region *string, item func([]byte) error) error {
	items := 0
	return fields(b, func(f field) (err error) {
		switch f.num {
		case 1:
			var n uint64
			n, err = f.number(math.MaxUint32)
			*incarnation = uint32(n)
		case 2:
			*region, err = f.text(maxText)
		case 3:
			if items++; items > maxItems || f.typ != protowire.BytesType {
				return ErrMalformed
			}
			err = item(f.bytes)
		}
		return err
	})
}

func decodeVerdict(b []byte) (Verdict, error) {
	var v Verdict
	err := fields(b, func(f field) (err error) {
		var n uint64
		switch f.num {
		case 1:
			v.Upstream, err = f.text(maxText)
		case 2:
			v.URL, err = f.text(maxText)
		case 3:
			n, err = f.number(uint64(CheckDown))
			v.Check = CheckVerdict(n)
		case 4:
			n, err = f.number(1)
			v.Open = n == 1
		case 5:
			n, err = f.number(math.MaxInt64)
			v.Since = int64(n)
		case 6:
			v.Reason, err = f.text(maxReason)
		}
		return err
	})
	return v, err
}

func decodeLoad(b []byte) (Load, error) {
	var l Load
	err := fields(b, func(f field) (err error) {
		switch f.num {
		case 1:
			l.Upstream, err = f.text(maxText)
		case 2:
			l.Headroom, err = f.rate()
		case 3:
			l.Foreign, err = f.rate()
		case 4:
			l.Demand, err = f.rate()
		case 5:
			l.Wanted, err = f.rate()
		}
		return err
	})
	return l, err
}

// field is one field of a message.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a varint or fixed32
	bytes []byte
}

// fields calls each for all fields of a message until one errs.
func fields(b []byte, each func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return ErrMalformed
		}
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.value, _ = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			v, _ := protowire.ConsumeFixed32(b)
			f.value = uint64(v)
		case protowire.BytesType:
			f.bytes, _ = protowire.ConsumeBytes(b)
		}
		if err := each(f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (f field) number(limit uint64) (uint64, error) {
	if f.typ != protowire.VarintType || f.value > limit {
		return 0, ErrMalformed
	}
	return f.value, nil
}

func (f field) text(limit int) (string, error) {
	if f.typ != protowire.BytesType || len(f.bytes) > limit || !utf8.Valid(f.bytes) {
		return "", ErrMalformed
	}
	return string(f.bytes), nil
}

func (f field) rate() (float64, error) {
	r := float64(math.Float32frombits(uint32(f.value)))
	if f.typ != protowire.Fixed32Type || !(r >= 0 && r <= math.MaxFloat32) {
		return 0, ErrMalformed
	}
	return r, nil
}

func appendHead(b []byte, incarnation uint32, region string) []byte {
	return appendText(appendNumber(b, 1, uint64(incarnation)), 2, region)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNumber(b []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func appendRate(b []byte, num protowire.Number, r float64) []byte {
	if !(r > 0) {
		return b
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), math.Float32bits(float32(min(r, math.MaxFloat32))))
}
