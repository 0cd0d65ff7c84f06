#!/usr/bin/env bash
# Convergent tables beside a Redis server: bench-redis.sh [DIRECTORY]
#
# Three nodes of Althing (N=3, W=2, fsync on) and one redis-server, with `appendfsync always` and with `everysec`, take the same
# `redis-benchmark` in turn, so that whatever else the machine does falls on all of them. Prints requests per second, the
# middle of the rounds, and the ratios of the rounds that follow each other, as a table in Markdown.
#
# The data of all of them is put below DIRECTORY, so that it is on the same disk; it is removed at the end.
#
#   ALTHING   the program                                        target/release/althing
#   ROUNDS    how often each is measured                         3
#   SECONDS_EACH  about how long one measurement takes             3
#   CLIENTS   connections                                        50
#   BYTES     of a value                                         100
#   KEYS      how many keys are drawn from; 0 is a single key     0
#   TESTS     what redis-benchmark -t takes                       set,get,incr,sadd,hset
#   PIPELINES how many commands are sent at a time                "1 16"
#   NODE      which node is asked: 1, 2 or 3, or `leader`           leader
set -euo pipefail
cd "$(dirname "$0")/.."

althing=${ALTHING:-target/release/althing}
for tool in redis-server redis-benchmark redis-cli python3 "$althing"; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done
mkdir -p "${1:-.}"
work=$(mktemp -d "$(realpath "${1:-.}")/bench-redis.XXXX")
pids=()
stop() {
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop EXIT

base=${BASE_PORT:-27000}
"$althing" dev --processes --json --dir "$work/althing" --base-port "$base" >"$work/cluster.json" 2>"$work/cluster.log" &
pids+=($!)
server() {
  mkdir -p "$work/$1"
  redis-server --port "$2" --bind 127.0.0.1 --dir "$work/$1" --save '' --appendonly yes --appendfsync "$1" \
    --daemonize no --loglevel warning >"$work/$1.log" 2>&1 &
  pids+=($!)
}
server always $((base + 50))
server everysec $((base + 51))
for _ in $(seq 150); do
  if [ -s "$work/cluster.json" ]; then break; fi
  sleep 0.2
done
if [ ! -s "$work/cluster.json" ]; then
  echo "the cluster did not start:" >&2
  tail -n 20 "$work/cluster.log" >&2
  exit 1
fi

export WORK=$work BASE=$base ALTHING=$althing
python3 scripts/bench_redis.py
