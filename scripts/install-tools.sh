#!/bin/sh
# Installs what the tests of `make check` need besides Go, or the pairs of command
# and package that are named, from Debian's packages.
# Says so and fails where it cannot: nothing is skipped in silence.
set -eu
missing=
[ $# -gt 0 ] || set -- ip:iproute2 nft:nftables slowhttptest:slowhttptest chromium:chromium promtool:prometheus
for pair; do
	command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || {
	echo "install-tools: need$missing, and there is no apt-get to install them with" >&2
	exit 1
}
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get -o DPkg::Lock::Timeout=120 install -qq -y --no-install-recommends $missing >/dev/null
