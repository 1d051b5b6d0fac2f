package gossip

import "testing"

func FuzzKeyring(f *testing.F) {
	f.Add([]byte(`["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]`))
	f.Add([]byte(`["MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]`))
	f.Add([]byte(`[""]`))
	f.Add([]byte(`[null, 3]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeyring(data)
		if err == nil && (keys == nil || len(keys.GetPrimaryKey()) < 16) {
			t.Errorf("%q is taken for a keyring without a key", data)
		}
	})
}
