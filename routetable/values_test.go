package routetable_test

import (
	"encoding"
	"testing"

	"github.com/meshgw/meshgw/routetable"
)

func FuzzValues(f *testing.F) {
	for _, text := range []string{"500ms", "1h30m", "0", "64KiB", "9223372036854775807B", "8388607TiB", "100/s", "1/d", "+5/m", "1e3s", "-1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		readsBack(t, text, new(routetable.Duration), new(routetable.Duration))
		readsBack(t, text, new(routetable.Bytes), new(routetable.Bytes))
		readsBack(t, text, new(routetable.Rate), new(routetable.Rate))
	})
}

// readsBack holds what is accepted to be written so that it reads the same.
func readsBack[V any, P interface {
	*V
	encoding.TextUnmarshaler
	encoding.TextMarshaler
}](t *testing.T, text string, value, again P) {
	t.Helper()
	if value.UnmarshalText([]byte(text)) != nil {
		return
	}
	written, err := value.MarshalText()
	if err == nil {
		err = again.UnmarshalText(written)
	}
	if err != nil || any(*again) != any(*value) {
		t.Errorf("%q reads as %v, written %q, which reads as %v, %v", text, *value, written, *again, err)
	}
}
