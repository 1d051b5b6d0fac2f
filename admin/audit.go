package admin

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// auditRefused bounds the lines about refusals: strangers can cause any number.
func auditRefused(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})
}

// audit has a line in the log for every change that was asked for: who, from
// where, what, and how it was answered.
func audit(log zerolog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reads(r) {
			next.ServeHTTP(w, r)
			return
		}
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		log.Info().Str("by", caller(r)).Str("method", r.Method).Str("path", r.URL.Path).Int("status", seen.status).Msg("audit")
	})
}

// statusWriter remembers the status that is answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
