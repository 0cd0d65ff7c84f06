#!/usr/bin/env bash
# Every test of the project, on a fresh Debian machine with Rust. What real clients need is installed where it can be (with
# apt-get, and with pip and npm into folders of the build directory); what cannot be is skipped, and the last lines say so.
set -uo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
work=$target/clients
mkdir -p "$work"
skipped=() failed=()

have() { command -v "$1" >/dev/null 2>&1; }

# run NAME COMMAND...: one part of the suite; a failure is remembered and the rest still runs.
run() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then echo "ok: $name"; else
    failed+=("$name")
    echo "FAILED: $name"
  fi
}

install_clients() {
  if ! have etcdctl && have apt-get && [ "$(id -u)" = 0 ]; then
    apt-get update -qq >/dev/null 2>&1
    apt-get install -y -qq etcd-client >/dev/null 2>&1 || true
  fi
  if ! have redis-cli && have apt-get && [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq redis-tools >/dev/null 2>&1 || true
  fi
  have redis-cli || skipped+=("redis-cli and redis-benchmark (apt-get install redis-tools)")
  have etcdctl || skipped+=("etcdctl (apt-get install etcd-client)")
  have etcd || skipped+=("the comparison with a real etcd (apt-get install etcd-server)")
  if have python3; then
    [ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv" >/dev/null 2>&1 || true
    if [ -x "$work/venv/bin/pip" ]; then
      "$work/venv/bin/pip" install -q --disable-pip-version-check etcd3gw aetcd redis 2>/dev/null || true
    fi
  fi
  [ -x "$work/venv/bin/python" ] || skipped+=("python clients (python3 with venv)")
  if have npm; then
    (cd "$work" && [ -d node_modules/etcd3 ] || npm install --silent --no-fund --no-audit --prefix "$work" etcd3 >/dev/null 2>&1) || true
    (cd "$work" && [ -d node_modules/ioredis ] || npm install --silent --no-fund --no-audit --prefix "$work" redis ioredis >/dev/null 2>&1) || true
  fi
  [ -d "$work/node_modules/redis" ] || skipped+=("node-redis (npm install redis)")
  [ -d "$work/node_modules/ioredis" ] || skipped+=("ioredis (npm install ioredis)")
  [ -d "$work/node_modules/etcd3" ] || skipped+=("node client (npm install etcd3)")
}

# protoc, for the build of the crate `etcd-client` alone: Debian's, or the one that Python's grpcio-tools carries.
find_protoc() {
  if ! have protoc && have apt-get && [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq protobuf-compiler >/dev/null 2>&1 || true
  fi
  have protoc || skipped+=("the crate etcd-client (apt-get install protobuf-compiler)")
}

# etcd's own test suites are a package of Debian; they are run with its Go.
install_go_suites() {
  if { ! have go || [ ! -d /usr/share/gocode/src/go.etcd.io/etcd ]; } && have apt-get && [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq --no-install-recommends golang-go golang-etcd-server-dev >/dev/null 2>&1 || true
  fi
  have go && [ -d /usr/share/gocode/src/go.etcd.io/etcd ]
}

go_suites() {
  ALTHING=$target/debug/althing ./scripts/go-suites.sh
}

rust_tests() {
  if have cargo-nextest; then
    cargo nextest run --workspace --no-fail-fast --status-level slow --final-status-level fail
  else
    cargo test --workspace --quiet --no-fail-fast
  fi
}

tours() {
  ALTHING=$target/debug/althing PATH="$work/venv/bin:$PATH" NODE_PATH="$work/node_modules" ./scripts/tours.sh
}

install_clients
find_protoc
# Once for all parts: the tests of the server need its binary, so it is built with them.
cargo test --workspace --quiet --no-run || exit 1
run "rust tests" rust_tests
run "client tours" tours
if install_go_suites; then
  run "etcd's Go suites" go_suites
else
  skipped+=("etcd's Go suites (apt-get install golang-go golang-etcd-server-dev)")
fi

for part in "${skipped[@]}"; do echo "skipped: $part"; done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all parts passed, ${#skipped[@]} skipped"
