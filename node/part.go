package node

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// part is a part of the node that is ended by itself.
type part struct {
	end  context.CancelFunc
	done chan struct{} // closed when it has ended
}

// start runs f in group until the part or ctx ends.
func start(ctx context.Context, group *errgroup.Group, f func(context.Context) error) part {
	ctx, end := context.WithCancel(ctx)
	p := part{end: end, done: make(chan struct{})}
	group.Go(func() error {
		defer close(p.done)
		return f(ctx)
	})
	return p
}

// stop ends the part, and returns when it has ended.
func (p part) stop() {
	p.end()
	<-p.done
}
