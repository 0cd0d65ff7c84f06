#!/usr/bin/env bash
# etcd's own Go test suites (Debian's golang-etcd-server-dev, 3.4) against Althing. ALTHING names the binary.
#
#   scripts/go-suites.sh                      the tests for every day: a few minutes on two cores
#   ALTHING_GO_SUITES=all scripts/go-suites.sh    all that apply
#   scripts/go-suites.sh TestV3PutRestart …   some by name
#
# The suites start clusters through etcd's package `integration`. A package of ours with that name (clients/go/integration)
# is laid over it with the Go path, and starts `althing server` processes. Tests that do not apply, and tests that are
# left to the full run, stand in clients/go/tests.txt with their reasons. Every test runs in a process of its own.
set -uo pipefail
cd "$(dirname "$0")/.."
ALTHING=$(realpath "${ALTHING:?set ALTHING to the binary}")
export ALTHING LC_ALL=C
which=${ALTHING_GO_SUITES:-short}
jobs=${ALTHING_GO_JOBS:-2}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/go
etcd=/usr/share/gocode/src/go.etcd.io/etcd
packages=(integration clientv3/integration clientv3 clientv3/concurrency clientv3/ordering clientv3/namespace)
# Of etcd's package `integration`: the suites of API v3, and what they need.
files=(v3*_test.go network_partition_test.go main_test.go logger_test.go util_test.go fixtures fixtures-expired)

if ! command -v go >/dev/null || [ ! -d "$etcd" ]; then
  echo "go or $etcd is missing (apt-get install golang-go golang-etcd-server-dev)"
  exit 1
fi
mkdir -p "$target/logs"
overlay=$target/overlay/src/go.etcd.io/etcd/integration
rm -rf "$overlay" "$target"/logs/* && mkdir -p "$overlay"
for file in "${files[@]}"; do cp -r "$etcd"/integration/$file "$overlay"; done
cp clients/go/integration/*.go "$overlay"
export GO111MODULE=off GOFLAGS= GOPATH=$target/overlay:/usr/share/gocode GOCACHE=$target/cache ALTHING_GO_LOGS=$target/logs

binary() { echo "$target/$(tr / - <<<"$1").test"; }
folder() { if [ "$1" = integration ]; then echo "$overlay"; else echo "$etcd/$1"; fi; }

# Lists "package test" of all packages.
for package in "${packages[@]}"; do
  go test -c -o "$(binary "$package")" "go.etcd.io/etcd/$package" || exit 1
  "$(binary "$package")" -test.list . | grep -E '^(Test|Example)' | sed "s#^#$package #"
done | sort -u >"$target/all" || exit 1

# clients/go/tests.txt: lines "package test | excluded or full | reason".
grep -v '^#' clients/go/tests.txt | grep -v '^$' >"$target/named"
if grep -vE '^[^ |]+ [^ |]+ \| (excluded|full) \| .' "$target/named"; then
  echo "clients/go/tests.txt: these lines are not of the form 'package test | excluded or full | reason'"
  exit 1
fi
unknown=$(cut -d'|' -f1 "$target/named" | sed 's/ *$//' | sort -u | comm -23 - "$target/all")
if [ -n "$unknown" ]; then
  printf 'clients/go/tests.txt names tests that do not exist:\n%s\n' "$unknown"
  exit 1
fi
# left_out KIND: the tests that the list leaves out for this reason.
left_out() { grep "| *$1 *|" "$target/named" | cut -d'|' -f1 | sed 's/ *$//' | sort -u; }
left_out excluded >"$target/excluded"
left_out full >"$target/full"
comm -23 "$target/all" "$target/excluded" >"$target/applying"
if [ $# -gt 0 ]; then
  printf '%s\n' "$@" | grep -F -w -f - "$target/all" >"$target/chosen"
elif [ "$which" = all ]; then
  cp "$target/applying" "$target/chosen"
else
  comm -23 "$target/applying" "$target/full" >"$target/chosen"
fi

# one PACKAGE TEST: runs it, writes a line of the result, keeps the output of a failure.
one() {
  local log started
  log=$ALTHING_GO_LOGS/$(tr / - <<<"$1")-$2.txt
  started=$(date +%s%N)
  if (cd "$(folder "$1")" && timeout -k 5 150 "$(binary "$1")" -test.run="^$2\$" -test.timeout=140s -test.v >"$log" 2>&1); then
    if grep -q '^--- SKIP' "$log"; then echo "skip $1 $2"; else echo "pass $1 $2 $((($(date +%s%N) - started) / 1000000))ms"; fi
    rm "$log"
  else
    echo "FAIL $1 $2 $((($(date +%s%N) - started) / 1000000))ms: $log"
  fi
}
export -f one binary folder
export target etcd overlay
xargs -P "$jobs" -L 1 bash -c 'one "$@"' one <"$target/chosen" | tee "$target/results" | grep --line-buffered -v '^pass'

count() { awk -v kind="$2" -v package="$3" '$1 == kind && $2 == package' "$1" | wc -l; }
for package in "${packages[@]}"; do
  echo "$package: $(count "$target/results" pass "$package") passed, $(count "$target/results" FAIL "$package") failed," \
    "$(count "$target/results" skip "$package") skipped by themselves," \
    "$(grep -c "^$package " "$target/excluded") excluded of $(grep -c "^$package " "$target/all")"
done
[ "$which" = all ] || echo "left to the full run (ALTHING_GO_SUITES=all): $(wc -l <"$target/full")"
total=$(wc -l <"$target/results")
passed=$(grep -c '^pass' "$target/results")
failed=$(grep -c '^FAIL' "$target/results")
echo "etcd's suites: $passed of $total passed, $failed failed, $(wc -l <"$target/excluded") excluded ($which)"
[ "$failed" = 0 ] && [ "$total" = "$(wc -l <"$target/chosen")" ]
