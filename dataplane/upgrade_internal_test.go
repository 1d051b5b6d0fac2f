package dataplane

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A tunnel ends when both sides are silent for too long, not when one is.
func TestATunnelLastsAsLongAsOneSideSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet := &idleTimer{most: time.Hour}
		begun := time.Now()
		quiet.since.Store(begun.UnixNano())
		near, far := net.Pipe()
		defer far.Close()
		ended := make(chan error, 1)
		go func() {
			_, err := quiet.read(near, make([]byte, 1))
			ended <- err
		}()
		for range 3 { // the other side speaks
			time.Sleep(50 * time.Minute)
			quiet.since.Store(time.Now().UnixNano())
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != 3*50*time.Minute+time.Hour {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}
