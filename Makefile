GO_TOOL := go tool -modfile=tools.mod
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/meshgw and bin/serf, the stock Serf CLI of the same version
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/meshgw github.com/hashicorp/serf/cmd/serf

.PHONY: run
run: build ## one node, a mesh of its own, on the default ports
	bin/meshgw agent

.PHONY: demo
demo: build ## three regions, two nodes each, upstreams and a load, for 30 s
	bin/meshgw demo --for 30s

# What has processes takes longest, so it begins, and its tests wait more than they
# compute, so more run at once than there are processors.
AT_ONCE := -parallel 4
.PHONY: test
test: ## every test that needs nothing but Go, real processes included
	go test -shuffle=on $(AT_ONCE) -timeout 30m ./internal/e2e ./...

# Not raced: the limits' simulator, which has one goroutine, and the commands,
# which are clients; of the simulated meshes, a few. See race-e2e for processes.
UNRACED := -e internal/quotasim -e cmd/meshgw -e internal/e2e -e internal/sim
.PHONY: race
race: ## most of it again under the race detector (needs a C compiler)
	go test -race -shuffle=on -short $(AT_ONCE) -timeout 30m $$(go list ./... | grep -v $(UNRACED))
	go test -race -short -run 'TestSeeds$$' ./internal/sim

.PHONY: race-e2e
race-e2e: ## real processes under the race detector (minutes; not in check)
	go test -race -short -parallel 1 -timeout 30m ./internal/e2e

HTTP2_TESTS := Killed|Frozen|Freeze|Posts|Rolling|SlowUpstream|LargeBodies|Region|ClosedPort|Limit|Quota|AtOnce|Stopped|SIGTERM|Applies|Request|Top|Traces|Ban|Proxies|DeadUpstream|DeadEndpoint|EverythingDown
.PHONY: test-http2
test-http2: ## what processes are asked by clients, again over HTTP/2 (minutes; not in check)
	MESHGW_HTTP2=1 go test -run '$(HTTP2_TESTS)' ./internal/e2e

.PHONY: test-root
test-root: ## what needs Debian: network namespaces and partitions (iproute2, as root), slowhttptest, Chromium, Prometheus
	scripts/install-tools.sh
	go test -tags root -timeout 20m $(AT_ONCE) -run "Namespace|SlowHTTPTest|StatusPage|Prometheus" -v ./internal/e2e

.PHONY: test-alerts
test-alerts: ## of those, the rules and the dashboard of deploy/ with a real Prometheus and a real mesh
	scripts/install-tools.sh promtool:prometheus
	go test -tags root -run Prometheus -v ./internal/e2e

.PHONY: lint
lint: ## golangci-lint, the import diagram among it; changes nothing
	$(GO_TOOL) golangci-lint run
	go mod tidy -diff

.PHONY: fmt
fmt: ## rewrite into house style
	$(GO_TOOL) golangci-lint fmt
	go mod tidy

.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME each (default 30s)
	scripts/fuzz.sh

.PHONY: chaos
chaos: ## every scenario that breaks a mesh of real processes, as root (minutes; see scripts/chaos --list)
	scripts/install-tools.sh
	scripts/chaos

.PHONY: chaos-short
chaos-short: ## two of them, in half a minute
	scripts/install-tools.sh
	scripts/chaos --slack 10 name-conflict node-kill # CI's machine may have other work

MINUTES ?= 10
.PHONY: soak
soak: ## random faults under load for MINUTES (default 10), as root
	scripts/install-tools.sh
	scripts/chaos --soak $(MINUTES)m

SEEDS ?= 1000
.PHONY: sim
sim: ## whole meshes in virtual time with faults, SEEDS of them (default 1000; minutes)
	MESHGW_SEEDS=$(SEEDS) go test -run 'Seeds$$$$' -timeout 60m ./internal/sim

.PHONY: bench
bench: build ## meshgw beside nginx, HAProxy and, where installed, Caddy and Traefik (Debian; 10 minutes)
	scripts/install-tools.sh taskset:util-linux wrk:wrk h2load:nghttp2-client nginx:nginx-light haproxy:haproxy
	go run ./scripts/bench $(BENCH)

.PHONY: bench-go
bench-go: ## the benchmarks that stand beside the code
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-gossip
bench-gossip: ## meshes of 10 to 200 nodes: join, spread of news, cost of an idle node (minutes)
	go test -run '^$$' -bench Mesh -benchtime 1x -timeout 30m ./gossip

.PHONY: bench-limits
bench-limits: ## what a limit costs, alone and as part of a request
	go test -run '^$$' -bench 'Take|Key|Limited' -benchmem ./quota ./dataplane

.PHONY: bench-routes
bench-routes: ## match, compile, read and merge, up to 10,000 routes
	go test -run '^$$' -bench 'Match|Compile|Merge|Decode|Pull' -benchmem ./routetable ./routetable/replica

.PHONY: benchstat
benchstat: ## those benchmarks against the last release
	scripts/benchstat.sh

.PHONY: quota-sim
quota-sim: ## what docs/limits.md promises, by the gateway's own code in simulated meshes (minutes)
	go run ./internal/quotasim
	go run ./internal/quotasim -compare

.PHONY: check
check: build lint test race test-root chaos-short ## what CI runs
	FUZZTIME=200x scripts/fuzz.sh
