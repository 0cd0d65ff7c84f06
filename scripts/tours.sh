#!/usr/bin/env bash
# Tours of a three-node cluster with clients that are not ours. ALTHING names the binary. Ports are chosen by the kernel's
# free range below; the cluster and everything else that is started here is stopped here.
set -uo pipefail
cd "$(dirname "$0")/.."
althing=${ALTHING:?set ALTHING to the binary}
work=$(mktemp -d)
cluster=
failures=0

stop() {
  if [ -n "$cluster" ]; then
    kill -INT "$cluster" 2>/dev/null
    wait "$cluster" 2>/dev/null
  fi
  rm -rf "$work"
}
trap stop EXIT

# tour NAME COMMAND...
tour() {
  local name=$1
  shift
  echo "-- $name"
  if "$@" >"$work/log" 2>&1; then tail -n 1 "$work/log"; else
    failures=$((failures + 1))
    tail -n 20 "$work/log"
    echo "FAILED: $name"
  fi
}

base=$((20000 + RANDOM % 10000))
"$althing" dev --processes --json --dir "$work/data" --base-port "$base" >"$work/cluster.json" 2>"$work/cluster.log" &
cluster=$!
for _ in $(seq 300); do
  [ -s "$work/cluster.json" ] && break
  kill -0 "$cluster" 2>/dev/null || break
  sleep 0.1
done
if [ ! -s "$work/cluster.json" ]; then
  echo "the cluster did not start:"
  tail -n 20 "$work/cluster.log"
  exit 1
fi
field() { python3 -c "import json,sys; print(*[str(n['$1']) for n in json.load(open('$work/cluster.json'))['nodes']], sep='$2')"; }
endpoints=$(field etcd ,)
read -r -a pids <<<"$(field pid ' ')"
first=${endpoints%%,*}

clients() {
  if command -v etcdctl >/dev/null; then tour "etcdctl $1" ./scripts/clients/etcdctl.sh "$2"; fi
  if [ -f ../shared/clients/etcdctl-tour.sh ] && command -v etcdctl >/dev/null; then
    tour "shared etcdctl tour $1" bash ../shared/clients/etcdctl-tour.sh "$2"
  fi
}

clients "on three nodes" "$endpoints"
tour "curl and the JSON gateway" python3 scripts/clients/json_gateway.py "$first"
if command -v etcd >/dev/null; then
  tour "answers of a real etcd" python3 scripts/clients/against_etcd.py "$first"
fi
if [ -f ../shared/clients/etcd-clients.py ]; then
  tour "client libraries" python3 ../shared/clients/etcd-clients.py "$first"
else
  tour "client libraries" python3 scripts/clients/libraries.py "$first"
fi

redis=$(field redis ,)
# table NAME SPEC
table() {
  printf 'apiVersion: althing/v1\nkind: Table\nmetadata: {name: %s}\nspec: {%s}\n' "$1" "$2" |
    "$althing" apply -f - --wait --endpoint "$first"
}
tour "a convergent table" table tour "guarantee: convergent, shards: 4, redisDb: 0"
tour "clients of Redis" python3 scripts/clients/redis_clients.py "$redis"
if command -v node >/dev/null; then
  tour "clients of Redis for Node.js" node scripts/clients/redis_clients.js "$redis"
fi
if [ -f ../shared/clients/redis-cases.py ]; then
  tour "cases of Redis's commands" ./scripts/clients/redis_cases.sh ../shared/clients/redis-cases.py "${redis%%,*}" 264
fi
tour "the convergent table makes way" table tour "guarantee: convergent, shards: 4, redisDb: 1"
tour "a strong table" table exact "guarantee: strong, redisDb: 0"
tour "transactions of clients of Redis" python3 scripts/clients/redis_exact.py "$redis" exact
if [ -f ../shared/clients/redis-cases.py ]; then
  tour "cases of Redis's commands on the strong table" ./scripts/clients/redis_cases.sh ../shared/clients/redis-cases.py "${redis%%,*}" 271
fi

if command -v protoc >/dev/null; then
  tour "the crate etcd-client" env ALTHING_ENDPOINTS="$endpoints" cargo test --quiet --target-dir target/clients/rust --manifest-path clients/rust/Cargo.toml
fi

# One node down: the one that was started last, whatever its role.
kill -9 "${pids[2]}"
clients "with one node down" "${endpoints%,*}"

[ "$failures" = 0 ]
