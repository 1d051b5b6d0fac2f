package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultURL is where a node's admin listener is unless told otherwise.
const DefaultURL = "http://127.0.0.1:9901"

// maxAnswer bounds what a client reads of an answer: a status of a thousand
// nodes is a megabyte.
const maxAnswer = 64 << 20

// ErrUnreachable tells a node that could not be asked from one that said no,
// which is a *Problem.
var ErrUnreachable = errors.New("could not reach")

// Client talks to the admin API of one node. Its methods may be called from
// several goroutines at once. They return a *Problem where the node refused,
// and an error that wraps ErrUnreachable where it could not be asked.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client of the admin listener at base, a URL or host:port. The
// token is sent as a bearer token unless it is empty. A nil client stands for
// one that uses no proxy, since admin listeners refuse what came through one.
func New(base, token string, client *http.Client) (*Client, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("parse admin address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("admin address %q: want http://HOST:PORT", u.Redacted())
	}
	if u.Hostname() == "" { // as a node is told to listen: :9901
		u.Host = "127.0.0.1" + u.Host
	}
	if client == nil {
		client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}}
	}
	return &Client{base: strings.TrimSuffix(u.String(), "/"), token: token, http: client}, nil
}

// Base is the URL that the client asks.
func (c *Client) Base() string { return c.base }

// Status returns the node's own state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Mesh returns what the node knows of every member.
func (c *Client) Mesh(ctx context.Context) (Mesh, error) {
	return get[Mesh](ctx, c, "/v1/mesh", nil)
}

// Upstreams returns the health of every endpoint as the node sees it.
func (c *Client) Upstreams(ctx context.Context) ([]Upstream, error) {
	return get[[]Upstream](ctx, c, "/v1/upstreams", nil)
}

// Drain takes the node out of rotation.
func (c *Client) Drain(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/drain", nil, nil, contentType("application/json"))
	return err
}

// Undrain takes the node into rotation again.
func (c *Client) Undrain(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/undrain", nil, nil, contentType("application/json"))
	return err
}

// Reload has the node read its certificates, keyring and route file again.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/reload", nil, nil, contentType("application/json"))
	return err
}

// SetWeight changes the node's capacity relative to others, 1 to 65535, until it
// restarts.
func (c *Client) SetWeight(ctx context.Context, weight int) error {
	body, err := json.Marshal(Weight{weight})
	if err != nil {
		return fmt.Errorf("encode weight: %w", err)
	}
	_, err = c.do(ctx, http.MethodPost, "/v1/weight", nil, body, contentType("application/json"))
	return err
}

// SetClock has the wall clock of a node that runs with --allow-chaos wrong by
// offset.
func (c *Client) SetClock(ctx context.Context, offset time.Duration) error {
	body, err := json.Marshal(Clock{offset.String()})
	if err != nil {
		return fmt.Errorf("encode offset: %w", err)
	}
	_, err = c.do(ctx, http.MethodPost, "/v1/chaos/clock", nil, body, contentType("application/json"))
	return err
}

// Document returns the table as a route file, in YAML or JSON, with its ETag.
// version is that of a changeset in the history, or empty for the table of now.
func (c *Client) Document(ctx context.Context, version string, asJSON bool) (doc []byte, etag string, err error) {
	query := url.Values{}
	if version != "" {
		query.Set("version", version)
	}
	header := http.Header{"Accept": {"application/yaml"}}
	if asJSON {
		header.Set("Accept", "application/json")
	}
	a, err := c.do(ctx, http.MethodGet, "/v1/routes", query, nil, header)
	return a.body, a.header.Get("ETag"), err
}

// Validate asks the node to check a route file, YAML or JSON.
func (c *Client) Validate(ctx context.Context, doc []byte) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/routes/validate", nil, doc, contentType("application/yaml"))
	return err
}

// Apply applies a route file, YAML or JSON. With a Wait that did not come to
// its end in time, Applied.Wait is not Done and the error is nil.
func (c *Client) Apply(ctx context.Context, doc []byte, o ApplyOptions) (Applied, error) {
	return c.change(ctx, "/v1/routes", doc, o, nil)
}

// Rollback makes the content of a version, VERSION or VERSION@NODE, a new one.
func (c *Client) Rollback(ctx context.Context, version string, o ApplyOptions) (Applied, error) {
	return c.change(ctx, "/v1/routes/rollback", nil, o, url.Values{"version": {version}})
}

// History returns the changesets that the node remembers, the newest first.
func (c *Client) History(ctx context.Context) ([]Changeset, error) {
	return get[[]Changeset](ctx, c, "/v1/routes/history", nil)
}

// Explain asks which route would answer a request.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	return get[Explanation](ctx, c, "/v1/routes/explain", r.query())
}

// ExplainMesh asks every node of the mesh the same.
func (c *Client) ExplainMesh(ctx context.Context, r ExplainRequest) (MeshExplanation, error) {
	query := r.query()
	query.Set("mesh", "1")
	return get[MeshExplanation](ctx, c, "/v1/routes/explain", query)
}

func (r ExplainRequest) query() url.Values {
	return url.Values{"method": {r.Method}, "url": {r.URL}, "header": r.Headers}
}

func (c *Client) change(ctx context.Context, path string, doc []byte, o ApplyOptions, query url.Values) (Applied, error) {
	if query == nil {
		query = url.Values{}
	}
	for key, value := range map[string]string{"wait": o.Wait, "message": o.Message} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for key, on := range map[string]bool{"prune": o.Prune, "dry_run": o.DryRun} {
		if on {
			query.Set(key, strconv.FormatBool(on))
		}
	}
	if o.Timeout > 0 {
		query.Set("timeout", o.Timeout.String())
	}
	header := contentType("application/yaml")
	if o.IfMatch != "" {
		header.Set("If-Match", o.IfMatch)
	}
	a, err := c.do(ctx, http.MethodPost, path, query, doc, header)
	if err != nil {
		return Applied{}, err
	}
	return decode[Applied](a.body)
}

// answer is what came back with a status of success.
type answer struct {
	header http.Header
	body   []byte
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header) (answer, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", path, err)
	}
	req.Header = header
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		return answer{}, problemOf(resp, got)
	}
	return answer{header: resp.Header, body: got}, nil
}

// unreachable drops the URL that net/http puts before its errors: the node is
// named already, and the query is not what went wrong.
func (c *Client) unreachable(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("%w %s: %w", ErrUnreachable, c.base, err)
}

// problemOf reads a refusal, also one of somebody who is no meshgw node.
func problemOf(resp *http.Response, body []byte) *Problem {
	var p Problem
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == ProblemType && json.Unmarshal(body, &p) == nil {
		p.Status = resp.StatusCode
		p.Title = cmp.Or(p.Title, http.StatusText(p.Status))
		return &p
	}
	return NewProblem(resp.StatusCode, "%s answered %s; is it the admin address of a meshgw node?", resp.Request.URL.Host, resp.Status)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	a, err := c.do(ctx, http.MethodGet, path, query, nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](a.body)
}

func decode[T any](body []byte) (T, error) {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("decode answer: %w", err)
	}
	return v, nil
}

func contentType(media string) http.Header { return http.Header{"Content-Type": {media}} }
