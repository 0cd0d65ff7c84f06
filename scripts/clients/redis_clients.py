"""A tour of a convergent table with clients of Redis: redis-py over RESP2 and RESP3, redis-cli and redis-benchmark if they are there.

usage: redis_clients.py HOST:PORT,HOST:PORT,...
"""

import shutil
import subprocess
import sys

ENDPOINTS = [endpoint.rsplit(":", 1) for endpoint in sys.argv[1].split(",")]


def check(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def library():
    try:
        import redis
    except ImportError:
        print("redis-py is not there")
        return
    for protocol in (2, 3):
        clients = [redis.Redis(host, int(port), protocol=protocol, decode_responses=True) for host, port in ENDPOINTS]
        prefix = f"tour:{protocol}:"
        for client in clients:
            client.incr(prefix + "hits")
        for number, client in enumerate(clients):
            client.sadd(prefix + "cart", f"item{number}")
            client.hset(prefix + "user", mapping={f"field{number}": number})
            client.zadd(prefix + "scores", {f"player{number}": number * 10})
        with clients[0].pipeline(transaction=False) as pipeline:
            for number in range(100):
                pipeline.set(f"{prefix}key{number}", number)
            check("a pipeline", pipeline.execute(), [True] * 100)
        for client in clients:
            count = len(clients)
            check("the counter", client.get(prefix + "hits"), str(count))
            check("the set", client.smembers(prefix + "cart"), {f"item{number}" for number in range(count)})
            check("the hash", client.hgetall(prefix + "user"), {f"field{n}": str(n) for n in range(count)})
            check("the range", client.zrange(prefix + "scores", 0, -1), [f"player{n}" for n in range(count)])
            check("many keys", client.mget([f"{prefix}key{n}" for n in range(100)]), [str(n) for n in range(100)])
            found = sorted(client.scan_iter(match=prefix + "key*", count=7))
            check("a scan", found, sorted(f"{prefix}key{number}" for number in range(100)))
        clients[0].set(prefix + "short", "x", px=50_000)
        check("a time to live", 0 < clients[-1].pttl(prefix + "short") <= 50_000, True)
        try:
            clients[0].lpush(prefix + "list", "x")
        except redis.ResponseError as error:
            check("a refusal", "is not supported by Althing" in str(error), True)
        else:
            sys.exit("a list was taken")


def tool(*words):
    if shutil.which(words[0]) is None:
        print(f"{words[0]} is not there")
        return ""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


host, port = ENDPOINTS[0]
library()
if said := tool("redis-cli", "-h", host, "-p", port, "ping"):
    check("redis-cli", said.strip(), "PONG")
if said := tool("redis-benchmark", "-h", host, "-p", port, "-n", "2000", "-q", "-t", "set,get,incr,sadd,hset"):
    check("redis-benchmark", said.count("requests per second"), 5)
print("clients of Redis: all as expected")
