// Package ids makes and reads what a request is identified by: request ids (UUIDv7)
// and W3C trace contexts.
package ids
