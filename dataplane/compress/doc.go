// Package compress compresses answers with gzip and zstd: whether a client and an
// answer allow it (RFC 9110, section 12.5.3), and the encoders, which are reused.
package compress
