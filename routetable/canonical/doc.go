// Package canonical gives hosts and request targets their one form: the one that
// is matched, logged and forwarded, so that the gateway and an upstream never
// take the same bytes for different requests. What two servers could read
// differently is refused. Nothing here keeps state.
package canonical
