package admin

import (
	"context"
	"time"

	"github.com/meshgw/meshgw/api"
)

// waitStep is how often a wait looks: the news of one apply reach a mesh within
// about ten of it.
const waitStep = 20 * time.Millisecond

// wait looks at status until as many live members as what asks for hold version
// or a newer one, or until ctx is done.
func wait(ctx context.Context, status func() api.Status, what string, version uint64) api.Wait {
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for {
		if w := status().Held(what, version); w.Done() || ctx.Err() != nil {
			return w
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
