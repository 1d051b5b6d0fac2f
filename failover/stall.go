package failover

import "time"

const (
	stallFloor  = 500 * time.Millisecond // no silence shorter than this is suspected
	stallFactor = 3                      // nor one shorter than this many times what answers take
)
