#!/bin/sh
# Runs the benchmarks that stand beside the code, here and in the last release, in
# turns, and prints what benchstat makes of it. Information: nothing fails by it.
set -eu
cd "$(dirname "$0")/.."
tag=$(git describe --tags --abbrev=0 2>/dev/null) || { echo "there is no release to compare with"; exit 0; }
work=$(mktemp -d)
trap 'git worktree remove --force "$work/old"; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/old" "$tag"

packages="crdt dataplane failover quota routetable routetable/replica telemetry"
both=
for pkg in $packages; do
	[ -d "$work/old/$pkg" ] || continue # it is new
	name=$(basename "$pkg") both="$both $(basename "$pkg")"
	go test -c -o "$work/new-$name.test" "./$pkg"
	(cd "$work/old" && go test -c -o "$work/old-$name.test" "./$pkg")
done
for round in 1 2 3 4 5 6; do
	for side in old new; do
		for name in $both; do
			"$work/$side-$name.test" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchtime 50ms -test.benchmem >>"$work/$side.txt"
		done
	done
done
go tool -modfile=tools.mod benchstat "$tag=$work/old.txt" "now=$work/new.txt"
