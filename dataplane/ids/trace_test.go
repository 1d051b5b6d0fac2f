package ids

import (
	"strings"
	"testing"
)

// The cases of W3C's own test suite for traceparent.
func TestReadTraceContinuesWhatIsValid(t *testing.T) {
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	zero := strings.Repeat("0", 32)
	for _, tt := range []struct {
		field              string
		continued, sampled bool
	}{
		{"00-" + id + "-" + parent + "-00", true, false},
		{"00-" + id + "-" + parent + "-01", true, true},
		{"00-" + id + "-" + parent + "-02", true, false},
		{"00-" + id + "-" + parent + "-ff", true, true},
		{"cc-" + id + "-" + parent + "-01", true, true},
		{"cc-" + id + "-" + parent + "-01-what-the-future-will-be-like", true, true},
		{"cc-" + id + "-" + parent + "-01.what", false, false},
		{"00-" + id + "-" + parent + "-01-what", false, false},
		{"00-" + id + "-" + parent + "-01.", false, false},
		{"ff-" + id + "-" + parent + "-01", false, false},
		{"0-" + id + "-" + parent + "-01", false, false},
		{"000-" + id + "-" + parent + "-01", false, false},
		{".0-" + id + "-" + parent + "-01", false, false},
		{"00-" + zero + "-" + parent + "-01", false, false},
		{"00-" + id + "-" + zero[:16] + "-01", false, false},
		{"00-" + strings.ToUpper(id) + "-" + parent + "-01", false, false},
		{"00-" + id[1:] + "-" + parent + "-01", false, false},
		{"00-" + id + "0-" + parent + "-01", false, false},
		{"00-" + id + "-" + parent[1:] + "-01", false, false},
		{"00-" + id + "-" + parent + "0-01", false, false},
		{"00-" + id + "-" + parent + "-1", false, false},
		{"00-" + id + "-" + parent + "-.0", false, false},
		{"00-" + id + "-" + parent, false, false},
		{"", false, false},
	} {
		got := ReadTrace([]byte(tt.field), 0)
		if got.Continued != tt.continued || got.Sampled != tt.sampled {
			t.Errorf("%q: continued %v, sampled %v", tt.field, got.Continued, got.Sampled)
		}
		if tt.continued != (string(got.ID[:]) == id) || tt.continued != (string(got.Parent) == parent) {
			t.Errorf("%q: trace %s, parent %s", tt.field, got.ID[:], got.Parent)
		}
		if out := string(got.AppendTraceparent(nil)); !strings.HasPrefix(out, "00-"+string(got.ID[:])+"-") || len(out) != 55 {
			t.Errorf("%q: sent on as %q", tt.field, out)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		trace := ReadTrace(raw, 1<<62)
		again := ReadTrace(trace.AppendTraceparent(nil), 0)
		if !again.Continued || again.ID != trace.ID || again.Sampled != trace.Sampled {
			t.Fatalf("%q: what is sent on is not a valid traceparent of the same trace", raw)
		}
	})
}
