"""Rounds of redis-benchmark against the servers that bench-redis.sh has started. See there for what may be set."""

import json
import os
import statistics
import subprocess
import sys
import time

ENV = os.environ
WORK, BASE, ALTHING = ENV["WORK"], int(ENV["BASE"]), ENV["ALTHING"]
ROUNDS, SECONDS = int(ENV.get("ROUNDS", "3")), float(ENV.get("SECONDS_EACH", "3"))
CLIENTS, BYTES, KEYS = ENV.get("CLIENTS", "50"), ENV.get("BYTES", "100"), int(ENV.get("KEYS", "0"))
TESTS = ENV.get("TESTS", "set,get,incr,sadd,hset").split(",")
PIPELINES = [int(number) for number in ENV.get("PIPELINES", "1 16").split()]

CLUSTER = json.load(open(f"{WORK}/cluster.json"))["nodes"]
ETCD = ",".join(node["etcd"] for node in CLUSTER)

# The two tables differ only in how many replicas a read asks.
TABLES = """apiVersion: althing/v1
kind: Table
metadata: {name: quorum}
spec: {guarantee: convergent, replicas: 3, shards: 1, redisDb: 0}
---
apiVersion: althing/v1
kind: Table
metadata: {name: one}
spec: {guarantee: convergent, replicas: 3, shards: 1, redisDb: 1, readLevel: one}
"""


def althing(*args, **more):
    return subprocess.run([ALTHING, *args], capture_output=True, text=True, check=True, **more).stdout


def leader_of(table):
    """The place of the node that coordinates the table's writes, or of the first one if it cannot be told."""
    for line in althing("get", "shards", "--endpoint", CLUSTER[0]["etcd"]).splitlines()[1:]:
        _, of, _, leader, *_ = line.split()
        if of == table:
            return next((place for place, node in enumerate(CLUSTER) if node["name"] == leader), 0)
    return 0


def ask(port, number, test, pipeline, requests):
    command = ["redis-benchmark", "-p", str(port), "-c", CLIENTS, "-n", str(requests), "-d", BYTES, "-t", test]
    command += ["-P", str(pipeline), "--csv"] + (["--dbnum", str(number)] if number else [])
    command += ["-r", str(KEYS)] if KEYS else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"') and not line.startswith('"test"')]
    if not lines:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    cells = [cell.strip('"') for cell in lines[-1].split('","')]
    return float(cells[1]), float(cells[4]), float(cells[6])


def figure(number):
    return f"{number:,.0f}"


def main():
    althing("apply", "-f", "-", "--wait", "--endpoint", ETCD.split(",")[0], input=TABLES)
    time.sleep(2)
    asked = ENV.get("NODE", "leader")

    def port(table):
        place = leader_of(table) if asked == "leader" else int(asked) - 1
        return int(CLUSTER[place]["redis"].rsplit(":", 1)[1])

    # The table beside redis, which has but one way to read.
    servers = {
        "QUORUM": (port("quorum"), 0),
        "ONE": (port("one"), 1),
        "always": (BASE + 50, 0),
        "everysec": (BASE + 51, 0),
    }
    subprocess.run([ALTHING, "--version"], check=False)
    print(f"{ROUNDS} rounds, {CLIENTS} connections, {BYTES} bytes, {KEYS or 1} keys, asked at: {asked}\n")
    for pipeline in PIPELINES:
        print(f"| -P {pipeline} | Althing: per second, p50, p99 in ms | `always` | `everysec` | × always | × everysec |")
        print("|---|---|---|---|---|---|", flush=True)
        for test in TESTS:
            names = ["QUORUM", "ONE", "always", "everysec"] if test == "get" else ["QUORUM", "always", "everysec"]
            if test == "get":
                for name in names:
                    ask(*servers[name], "set", 1, max(100, 4 * KEYS))
            rounds = {name: [] for name in names}
            # About as many as take the time that was asked for.
            counts = {}
            for name in names:
                rate = ask(*servers[name], test, pipeline, 4000 * pipeline)[0]
                counts[name] = max(4000, int(rate * SECONDS))
            for _ in range(ROUNDS):
                for name in names:
                    rounds[name].append(ask(*servers[name], test, pipeline, counts[name]))
            rates = {name: [rate for rate, _, _ in found] for name, found in rounds.items()}
            middle = {name: statistics.median(found) for name, found in rates.items()}
            for name in [name for name in names if name in ("QUORUM", "ONE")]:
                found = sorted(rounds[name])[len(rounds[name]) // 2]

                def ratio(to):
                    each = sorted(mine / theirs for mine, theirs in zip(rates[name], rates[to]))
                    return f"{statistics.median(each):.2f} ({each[0]:.2f}–{each[-1]:.2f})"

                label = test.upper() + (f", R={name}" if test == "get" else "")
                print(
                    f"| {label} | {figure(found[0])}, {found[1]:.2f}, {found[2]:.2f} | {figure(middle['always'])} "
                    f"| {figure(middle['everysec'])} | {ratio('always')} | {ratio('everysec')} |",
                    flush=True,
                )
        print()


main()
