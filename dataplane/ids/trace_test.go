package ids

import "testing"

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
