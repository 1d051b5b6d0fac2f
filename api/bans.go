package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Ban is a network that may not ask for a while: GET /v1/bans.
type Ban struct {
	CIDR       string    `json:"cidr"`
	ForMillis  int64     `json:"for_ms"`  // in all
	LeftMillis int64     `json:"left_ms"` // by the count of the node that was asked
	Reason     string    `json:"reason"`
	By         string    `json:"by"`
	Node       string    `json:"node"` // where it was put
	At         time.Time `json:"at"`   // by the clock of Node
}

// BanRequest is the body of POST /v1/bans.
type BanRequest struct {
	CIDR   string `json:"cidr"` // an address will do
	For    string `json:"for"`  // such as 10m
	Reason string `json:"reason,omitempty"`
}

// UnbanRequest is the body of POST /v1/bans/remove.
type UnbanRequest struct {
	CIDR string `json:"cidr"`
}

// Bans returns who is banned now, ordered by network.
func (c *Client) Bans(ctx context.Context) ([]Ban, error) {
	return get[[]Ban](ctx, c, "/v1/bans", nil)
}

// Ban keeps a network out, instead of any ban of it before.
func (c *Client) Ban(ctx context.Context, r BanRequest) (Ban, error) {
	return post[Ban](ctx, c, "/v1/bans", r)
}

// Unban lifts a ban before its time.
func (c *Client) Unban(ctx context.Context, cidr string) (Ban, error) {
	return post[Ban](ctx, c, "/v1/bans/remove", UnbanRequest{cidr})
}

// post sends v as JSON and reads the answer as a T.
func post[T any](ctx context.Context, c *Client, path string, v any) (T, error) {
	var zero T
	body, err := json.Marshal(v)
	if err != nil {
		return zero, fmt.Errorf("encode %s: %w", path, err)
	}
	a, err := c.do(ctx, http.MethodPost, path, nil, body, contentType("application/json"))
	if err != nil {
		return zero, err
	}
	return decode[T](a.body)
}
