package node

import (
	"os"
	"testing"
)

func TestDescriptorsAreCounted(t *testing.T) {
	before, limit := descriptors()
	if limit < 16 || before < 3 || before > limit {
		t.Fatalf("%d of %d", before, limit)
	}
	for range 50 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if now, _ := descriptors(); now < before+25 { // others may close theirs meanwhile
		t.Errorf("%d after opening 50 more, %d before", now, before)
	}
}
