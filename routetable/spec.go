package routetable

// The nouns of the route file. They are plain data: what a user may write, with
// the file's names as json tags (YAML uses the same). Absent fields are zero;
// the defaults are applied by Compile, so that they never travel.

// Spec is the content of a route file: all objects, keyed by kind and name.
type Spec struct {
	Upstreams []Upstream `json:"upstreams,omitempty"`
	Routes    []Route    `json:"routes,omitempty"`
	Limits    []Limit    `json:"limits,omitempty"`
	Tenants   []Tenant   `json:"tenants,omitempty"`
	Access    []Access   `json:"access,omitempty"`
}

// Upstream is a named service and where it is.
type Upstream struct {
	Name           string          `json:"name"`
	Protocol       string          `json:"protocol,omitempty"` // http1 (default), h2c (HTTP/2 in clear) or h2 (over TLS)
	Endpoints      []Endpoint      `json:"endpoints,omitempty"`
	Balance        *Balance        `json:"balance,omitempty"`
	Failover       *Failover       `json:"failover,omitempty"`
	HealthCheck    *HealthCheck    `json:"health_check,omitempty"` // absent = passive signals only
	TLS            *UpstreamTLS    `json:"tls,omitempty"`
	CircuitBreaker *CircuitBreaker `json:"circuit_breaker,omitempty"`
	Outlier        *Outlier        `json:"outlier,omitempty"`
	Timeouts       *Timeouts       `json:"timeouts,omitempty"`
	Retries        *Retries        `json:"retries,omitempty"`
	MaxConnections int             `json:"max_connections,omitempty"` // per endpoint, default 512
	MaxPending     *int            `json:"max_pending,omitempty"`     // waiting for a connection, default 1024
}

// Endpoint is one address of an upstream.
type Endpoint struct {
	URL    string `json:"url"`              // http or https; its path is put before each request's. dnssrv+http://NAME = found by the SRV records of NAME
	Region string `json:"region,omitempty"` // empty = every region's own
	Weight *int   `json:"weight,omitempty"` // default 100; 0 = drained
}

// Balance chooses among the endpoints of an upstream.
type Balance struct {
	Policy string  `json:"policy,omitempty"` // least_request (default), round_robin, random, consistent_hash, ewma
	Hash   *Hash   `json:"hash,omitempty"`   // for consistent_hash, default the client's address
	Sticky *Sticky `json:"sticky,omitempty"` // a client stays with the endpoint that answered it first
}

// Sticky keeps a client with its endpoint by a cookie, which names the endpoint to
// the nodes of the mesh alone.
type Sticky struct {
	Cookie   string   `json:"cookie,omitempty"`    // its name, default meshgw-sticky
	MaxAge   Duration `json:"max_age,omitempty"`   // default until the browser is closed
	SameSite string   `json:"same_site,omitempty"` // lax (default), strict, none
}

// Hash names what consistent_hash keeps together; exactly one field is set.
type Hash struct {
	Header   string `json:"header,omitempty"`
	Cookie   string `json:"cookie,omitempty"`
	ClientIP bool   `json:"client_ip,omitempty"`
	Path     bool   `json:"path,omitempty"`
}

// Failover says whether and where an upstream's requests may leave the region.
type Failover struct {
	Enabled *bool    `json:"enabled,omitempty"` // default true
	Regions []string `json:"regions,omitempty"` // in order; none = nearest by round trip
	Via     string   `json:"via,omitempty"`     // mesh (default) or direct
}

// HealthCheck is an active check of each endpoint, by a path or by gRPC's own
// protocol for that.
type HealthCheck struct {
	Path           string     `json:"path,omitempty"`
	GRPC           *GRPCCheck `json:"grpc,omitempty"`
	Interval       Duration   `json:"interval,omitempty"`        // default 2s
	Timeout        Duration   `json:"timeout,omitempty"`         // default 1s
	UnhealthyAfter int        `json:"unhealthy_after,omitempty"` // default 3
	HealthyAfter   int        `json:"healthy_after,omitempty"`   // default 2
}

// GRPCCheck asks grpc.health.v1.Health of an endpoint that speaks HTTP/2.
type GRPCCheck struct {
	Service string `json:"service,omitempty"` // none = the server as a whole
}

// UpstreamTLS is how https endpoints are verified and what they are shown.
type UpstreamTLS struct {
	CA         string `json:"ca,omitempty"` // file; system CAs by default
	ServerName string `json:"server_name,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
}

// CircuitBreaker opens an endpoint after consecutive failures.
type CircuitBreaker struct {
	Enabled             *bool    `json:"enabled,omitempty"`              // default true
	ConsecutiveFailures int      `json:"consecutive_failures,omitempty"` // default 5
	OpenFor             Duration `json:"open_for,omitempty"`             // default 30s
}

// Outlier bounds ejection by statistics.
type Outlier struct {
	MaxEjectedPercent *int `json:"max_ejected_percent,omitempty"` // default 50
}

// Timeouts bound the stages of a request; 0s turns one off.
type Timeouts struct {
	Connect  *Duration `json:"connect,omitempty"`  // upstreams only, default 500ms
	Response *Duration `json:"response,omitempty"` // to the response header of one try, default 15s
	Request  *Duration `json:"request,omitempty"`  // all tries, to the response header, default 30s
	Idle     *Duration `json:"idle,omitempty"`     // between bytes of a stream, default 5m
}

// Retries bound how often a request is tried.
type Retries struct {
	Attempts      int      `json:"attempts,omitempty"`       // in all, default 2; 1 = none
	On            []string `json:"on,omitzero"`              // connect_failure, reset, stalled, 500, 502, 503, 504; default all but 500
	BudgetPercent *int     `json:"budget_percent,omitempty"` // of the requests, default 20
}

// Route says which requests it is for and what becomes of them.
type Route struct {
	Name            string      `json:"name"`
	Hosts           []string    `json:"hosts,omitempty"`           // none or "*" = every host
	Match           []Match     `json:"match,omitempty"`           // any of; none = every request
	EncodedSlashes  string      `json:"encoded_slashes,omitempty"` // reject (default) or keep: paths with %2F
	Listeners       []string    `json:"listeners,omitempty"`       // none = all
	Upstream        string      `json:"upstream,omitempty"`
	Split           []Split     `json:"split,omitempty"`
	Rewrite         *Rewrite    `json:"rewrite,omitempty"`
	RequestHeaders  *HeaderOps  `json:"request_headers,omitempty"`
	ResponseHeaders *HeaderOps  `json:"response_headers,omitempty"`
	Redirect        *Redirect   `json:"redirect,omitempty"`
	Mirror          *Mirror     `json:"mirror,omitempty"`
	Limits          []string    `json:"limits,omitempty"`
	Allow           *CIDRs      `json:"allow,omitempty"`
	Deny            *CIDRs      `json:"deny,omitempty"`
	Priority        string      `json:"priority,omitempty"` // critical, high, normal (default), low
	Auth            []Auth      `json:"auth,omitempty"`     // any of
	Tenants         []string    `json:"tenants,omitzero"`   // whose requests alone are admitted; none = everybody's
	CORS            *CORS       `json:"cors,omitempty"`
	Compress        *Compress   `json:"compress,omitempty"`
	MaxBody         *Bytes      `json:"max_body,omitempty"` // default 10MiB; 0 = no limit
	Timeouts        *Timeouts   `json:"timeouts,omitempty"` // over the upstream's
	Respond         *Respond    `json:"respond,omitempty"`
	ErrorPages      []ErrorPage `json:"error_pages,omitempty"` // the first one that fits
}

// Match is one set of conditions, all of which must hold. At most one of the
// three path fields is set; none is the prefix "/".
type Match struct {
	Path       string      `json:"path,omitempty"`
	PathPrefix string      `json:"path_prefix,omitempty"`
	PathRegex  string      `json:"path_regex,omitempty"`
	Methods    []string    `json:"methods,omitempty"`
	Headers    []NameValue `json:"headers,omitempty"`
	Query      []NameValue `json:"query,omitempty"`
}

// NameValue is a header or query parameter and the value it must have.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Split sends a share of a route's requests to an upstream.
type Split struct {
	Upstream string `json:"upstream"`
	Weight   int    `json:"weight"` // relative to the others; 0 = none
}

// Rewrite changes what the upstream sees of the target.
type Rewrite struct {
	Path       string  `json:"path,omitempty"`        // the whole path
	PathPrefix *string `json:"path_prefix,omitempty"` // instead of the prefix that matched
	Host       string  `json:"host,omitempty"`
}

// HeaderOps changes header fields: set replaces, add appends, remove deletes.
// Values may hold placeholders such as ${request.id}.
type HeaderOps struct {
	Set    map[string]string `json:"set,omitempty"`
	Add    map[string]string `json:"add,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// Redirect answers with a Location instead of an upstream's answer.
type Redirect struct {
	Scheme     string  `json:"scheme,omitempty"`
	Host       string  `json:"host,omitempty"`
	Port       int     `json:"port,omitempty"`
	Path       string  `json:"path,omitempty"`
	PathPrefix *string `json:"path_prefix,omitempty"`
	Status     int     `json:"status,omitempty"` // 301, 302 (default), 303, 307, 308
}

// Mirror copies a share of the requests to another upstream.
type Mirror struct {
	Upstream string  `json:"upstream"`
	Percent  float64 `json:"percent"` // up to 100; 0 = none
}

// CIDRs is a list of networks.
type CIDRs struct {
	CIDRs []string `json:"cidrs"`
}

// Auth is one way to be let in; exactly one field is set.
type Auth struct {
	JWT     *JWT         `json:"jwt,omitempty"`
	APIKey  *APIKey      `json:"api_key,omitempty"`
	Basic   *Basic       `json:"basic,omitempty"`
	MTLS    *struct{}    `json:"mtls,omitempty"`
	Forward *ForwardAuth `json:"forward,omitempty"`
}

// JWT admits bearers of a token that verifies.
type JWT struct {
	JWKS       string   `json:"jwks"` // file or URL
	Issuer     string   `json:"issuer,omitempty"`
	Audience   string   `json:"audience,omitempty"`
	Algorithms []string `json:"algorithms"`
}

// APIKey admits the keys of tenants.
type APIKey struct {
	Header string `json:"header,omitempty"` // default x-api-key
}

// Basic admits the users of a file of name:hash lines.
type Basic struct {
	File string `json:"file"`
}

// ForwardAuth asks another service.
type ForwardAuth struct {
	URL         string   `json:"url"`
	CopyHeaders []string `json:"copy_headers,omitempty"` // of its answer, for the upstream
}

// CORS answers and permits cross-origin requests.
type CORS struct {
	Origins       []string  `json:"origins"`
	Methods       []string  `json:"methods,omitzero"` // default GET, HEAD, POST
	Headers       []string  `json:"headers,omitempty"`
	ExposeHeaders []string  `json:"expose_headers,omitempty"`
	Credentials   bool      `json:"credentials,omitempty"`
	MaxAge        *Duration `json:"max_age,omitempty"` // how long browsers may remember; 0s = not at all, none = as they like
}

// Compress compresses answers.
type Compress struct {
	Encodings []string `json:"encodings,omitzero"`  // zstd, gzip; default both
	MinBytes  int      `json:"min_bytes,omitempty"` // default 1024
	Types     []string `json:"types,omitzero"`      // default text, JSON, XML and the like
}

// Respond answers without an upstream.
type Respond struct {
	Status  int               `json:"status"`
	Body    string            `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"` // content-type text/plain for a body, unless it is among them
}

// ErrorPage is what errors of the gateway's own say instead of its JSON. Those of
// upstreams pass as they are.
type ErrorPage struct {
	On          []string `json:"on,omitzero"`            // a status, 4xx, 5xx, or a reason as in x-meshgw-error; none = all
	Body        string   `json:"body"`                   // up to 64 KiB; may hold ${request.id}, ${error.status}, ${error.reason}
	ContentType string   `json:"content_type,omitempty"` // default text/html; charset=utf-8
}

// Limit bounds requests per key over the whole mesh, or per node.
type Limit struct {
	Name         string   `json:"name"`
	Rate         *Rate    `json:"rate,omitempty"`
	Burst        *int64   `json:"burst,omitempty"`               // default one second's worth, at least 1; of N/h and N/d, N
	Key          []string `json:"key,omitempty"`                 // tenant, client_ip, header:NAME, route, none
	Concurrency  int      `json:"concurrency,omitempty"`         // in flight at once
	Scope        string   `json:"scope,omitempty"`               // mesh (default) or node
	Wait         string   `json:"wait,omitempty"`                // auto (default), a duration up to 500ms, 0
	WhenIsolated string   `json:"when_isolated,omitempty"`       // 0..1 (default 0.5), or open
	XHeaders     *bool    `json:"x_ratelimit_headers,omitempty"` // tell clients by X-RateLimit-Limit, -Remaining and -Reset too, default true
}

// Tenant is a customer: how requests of it are known and what it is held to.
type Tenant struct {
	Name     string        `json:"name"`
	Identify *Identify     `json:"identify,omitempty"`
	Priority string        `json:"priority,omitempty"`
	Limits   *TenantLimits `json:"limits,omitempty"`
}

// Identify says how a tenant's requests are known; exactly one way is given.
type Identify struct {
	Header       string     `json:"header,omitempty"` // with Value; from trusted proxies only
	Value        string     `json:"value,omitempty"`
	APIKeySHA256 []string   `json:"api_key_sha256,omitempty"`
	JWTClaim     *NameValue `json:"jwt_claim,omitempty"`
	MTLSSAN      string     `json:"mtls_san,omitempty"`
}

// TenantLimits is what a tenant is held to over all its routes.
type TenantLimits struct {
	Rate        *Rate  `json:"rate,omitempty"`
	Burst       *int64 `json:"burst,omitempty"`
	Concurrency int    `json:"concurrency,omitempty"`
}

// Access admits clients to the whole mesh by address, before any route is looked
// at. Of several, what one denies is denied, and where any allows, a client must
// be allowed by one of them.
type Access struct {
	Name  string `json:"name"`
	Allow *CIDRs `json:"allow,omitempty"`
	Deny  *CIDRs `json:"deny,omitempty"` // looked at first
}
