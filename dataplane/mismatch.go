package dataplane

import (
	"errors"
	"strings"

	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
)

// hint records the protocol mismatch in err, and returns it as a sentence after a
// space; empty if there is none.
func (s *Server) hint(e *endpoint, err error) string {
	m, ok := errors.AsType[upstream.Mismatch](err)
	if !ok || e.gateway != "" {
		return ""
	}
	if last := e.monitor.mismatch.Swap(&m); last == nil || *last != m {
		s.log.Warn().Str("endpoint", e.address.URL).Str("reason", string(m)).Msg("endpoint speaks another protocol")
	}
	return " I" + string(m[1:]) + "."
}

// reason says why e is not in use, with its protocol mismatch if there is one.
func (e *endpoint) reason(state failover.State) string {
	m := e.monitor.mismatch.Load()
	if m == nil || state.Status == failover.Closed || strings.Contains(state.Reason, string(*m)) {
		return state.Reason
	}
	return state.Reason + ": " + string(*m)
}
