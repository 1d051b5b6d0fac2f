// Package node assembles a gateway. It is the only package that imports all others,
// starts goroutines that outlive a call, and knows in which order the parts start
// and stop.
package node
