#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (default 30s), or so many
# inputs: before Go 1.27 a time that runs out on a busy machine is at times reported
# as a failure, "context deadline exceeded" (go.dev/issue/75804). Packages
# are built once; what a target finds lands in its package's testdata.
set -eu
cd "$(dirname "$0")/.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
cache=$(go env GOCACHE)/fuzz
for pkg in $(go list ./...); do
	dir=$(go list -f '{{.Dir}}' "$pkg")
	grep -qs '^func Fuzz' "$dir"/*_test.go || continue
	go test -c -fuzz . -o "$bin/fuzz.test" "$pkg"
	for target in $(cd "$dir" && "$bin/fuzz.test" -test.list '^Fuzz'); do
		echo "fuzz $pkg $target"
		(cd "$dir" && "$bin/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "${FUZZTIME:-30s}" \
			-test.fuzzminimizetime 1x -test.fuzzcachedir "$cache/$pkg")
	done
done
