#!/usr/bin/env bash
# What an operator does with etcdctl, against a cluster that runs. usage: etcdctl.sh ENDPOINTS [ETCDCTL]
# Prints a line per failing check, then "N passed, N failed".
set -u
export ETCDCTL_API=3
endpoints=$1 ctl=${2:-etcdctl}
run() { timeout 20 "$ctl" --endpoints "$endpoints" "$@"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=tour/$$-$RANDOM
passed=0 failed=0

# check NAME COMMAND...: the command must succeed.
check() {
  local name=$1
  shift
  if "$@" >"$work/out" 2>&1; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED $name: $(tail -n 1 "$work/out")"
  fi
}
# same NAME EXPECTED COMMAND...: what the command prints must be just that.
same() {
  local name=$1 expected=$2
  shift 2
  local actual
  actual=$("$@" 2>&1)
  check "$name (expected '$expected', got '$actual')" test "$actual" = "$expected"
}
value() { run get "$1" --print-value-only "${@:2}"; }
revision() { run get "$1" -w json | grep -oE '"revision":[0-9]+' | head -n 1 | cut -d: -f2; }

check "health of every endpoint" run endpoint health
check "the same leader everywhere" test "$(run endpoint status -w json | grep -oE '"leader":[0-9]+' | sort -u | wc -l)" = 1
same "put" OK run put "$root/a" one
same "get" one value "$root/a"
before=$(revision "$root/a")
same "overwrite" OK run put "$root/a" two
same "the past is still there" one value "$root/a" --rev="$before"
same "stale read" two value "$root/a" --consistency=s
for letter in c b d; do run put "$root/list/$letter" "$letter" >/dev/null; done
same "prefix, descending, limited" "$(printf 'd\nc')" value "$root/list/" --prefix --order=DESCEND --sort-by=KEY --limit=2
same "count" 3 bash -c "timeout 20 $ctl --endpoints $endpoints get $root/list/ --prefix --limit 1 -w fields | grep -oE '\"Count\" : [0-9]+' | grep -oE '[0-9]+'"
same "from a key on" 2 bash -c "timeout 20 $ctl --endpoints $endpoints get $root/list/c $root/list/e --keys-only | grep -c ."
same "delete a range" 3 run del "$root/list/" --prefix
same "a transaction that holds" "SUCCESS" bash -c "printf 'mod(\"$root/new\") = \"0\"\n\nput $root/new yes\n\nput $root/new no\n\n' | timeout 20 $ctl --endpoints $endpoints txn | head -n 1"
same "a transaction that does not" "FAILURE" bash -c "printf 'mod(\"$root/new\") = \"0\"\n\nput $root/new yes\n\nput $root/new no\n\n' | timeout 20 $ctl --endpoints $endpoints txn | head -n 1"

# A watch from the past sees everything once and in order, and what is written while it looks on.
start=$(run put "$root/w" 1 -w json | grep -oE '"revision":[0-9]+' | cut -d: -f2)
run put "$root/w" 2 >/dev/null
(timeout 10 "$ctl" --endpoints "$endpoints" watch "$root/w" --rev="$start" >"$work/watch") &
watcher=$!
for _ in $(seq 100); do [ "$(grep -c '^[12]$' "$work/watch")" = 2 ] && break; sleep 0.1; done
run put "$root/w" 3 >/dev/null
run del "$root/w" >/dev/null
for _ in $(seq 100); do grep -q DELETE "$work/watch" && break; sleep 0.1; done
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
same "a watch from the past" "1 2 3" bash -c "grep -E '^[0-9]$' $work/watch | tr '\n' ' ' | sed 's/ $//'"

lease=$(run lease grant 30 | awk '{print $2}')
check "put with a lease" run put "$root/leased" here --lease="$lease"
check "a lease names its keys" bash -c "timeout 20 $ctl --endpoints $endpoints lease timetolive $lease --keys | grep -q $root/leased"
check "keep alive" run lease keep-alive --once "$lease"
check "revoke" run lease revoke "$lease"
same "the key went with it" "" value "$root/leased"
check "lock" run lock "$root/lock" true
check "compaction" run compact "$(revision "$root/a")"
check "what is compacted is said so" bash -c "! timeout 20 $ctl --endpoints $endpoints get $root/a --rev=2 2>$work/err && grep -q 'required revision has been compacted' $work/err"
check "snapshot" timeout 20 "$ctl" --endpoints "${endpoints%%,*}" snapshot save "$work/snapshot.db"
same "no alarm" "" run alarm list
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
