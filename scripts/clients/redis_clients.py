"""A tour of a convergent table with clients of Redis: redis-py over RESP2 and RESP3, of one node and of the cluster, redis-cli and
redis-benchmark if they are there. A warning of any of them is a failure.

usage: redis_clients.py HOST:PORT,HOST:PORT,...
"""

import logging
import shutil
import subprocess
import sys
import threading
import time
import warnings

warnings.simplefilter("error")
said_by_libraries = []


class Heard(logging.Handler):
    def emit(self, record):
        said_by_libraries.append(record.getMessage())


logging.getLogger().addHandler(Heard(logging.WARNING))

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
        with clients[0].pipeline(transaction=True) as pipeline:
            pipeline.set(prefix + "tx", 1).incr(prefix + "tx")
            check("a transaction", pipeline.execute(), [True, 2])
        messages(clients, prefix)
        waiting(clients, prefix)
        cluster(protocol)
        try:
            clients[0].lpush(prefix + "list", "x")
        except redis.ResponseError as error:
            check("a refusal", "is not supported by Althing" in str(error), True)
        else:
            sys.exit("a list was taken")


def messages(clients, prefix):
    """What is published on the first node is heard on the last one."""
    listener = clients[-1].pubsub(ignore_subscribe_messages=True)
    listener.subscribe(prefix + "news")
    listener.psubscribe(prefix + "n*")
    deadline = time.monotonic() + 20
    heard = []
    # Who has begun to listen is known to its own node at once; the subscriptions are on their way to it first.
    while len(heard) < 2 and time.monotonic() < deadline:
        clients[0].publish(prefix + "news", "hello")
        while said := listener.get_message(timeout=0.1):
            heard.append((said["type"], said["data"]))
    check("messages of another node", set(heard), {("message", "hello"), ("pmessage", "hello")})
    check("who listens on the last node", clients[-1].pubsub_numsub(prefix + "news"), [(prefix + "news", 1)])
    check("who listens on the first node", clients[0].pubsub_numsub(prefix + "news"), [(prefix + "news", 0)])
    listener.close()


def waiting(clients, prefix):
    """A pop on the last node that waits gets what is added on the first one."""
    found = []
    popper = threading.Thread(target=lambda: found.append(clients[-1].bzpopmin([prefix + "a", prefix + "jobs"], timeout=10)))
    popper.start()
    time.sleep(0.05)
    clients[0].zadd(prefix + "jobs", {"job": 7})
    popper.join(15)
    check("a pop that waits", [list(one) for one in found], [[prefix + "jobs", "job", 7.0]])
    check("a pop in vain", clients[0].bzpopmin(prefix + "jobs", timeout=0.01), None)


def cluster(protocol):
    import redis
    from redis.cluster import ClusterNode

    nodes = [ClusterNode(host, int(port)) for host, port in ENDPOINTS]
    client = redis.RedisCluster(startup_nodes=nodes[:1], protocol=protocol, decode_responses=True)
    prefix = f"cluster:{protocol}:"
    check("the cluster's nodes", len(client.get_primaries()), len(ENDPOINTS))
    check("slots", sum(1 for slot in range(16384) if client.nodes_manager.slots_cache.get(slot)), 16384)
    for number in range(100):
        client.set(f"{prefix}key{number}", number)
    check("keys of many slots", [client.get(f"{prefix}key{n}") for n in range(100)], [str(n) for n in range(100)])
    client.sadd(prefix + "cart", "a", "b")
    check("a set", client.smembers(prefix + "cart"), {"a", "b"})
    client.hset(prefix + "user", mapping={"name": "ann"})
    check("a hash", client.hgetall(prefix + "user"), {"name": "ann"})
    client.zadd(prefix + "scores", {"ann": 1, "bob": 2})
    check("a sorted set", client.zrange(prefix + "scores", 0, -1), ["ann", "bob"])
    with client.pipeline() as pipeline:
        for number in range(10):
            pipeline.incr(f"{prefix}{{count}}{number}")
        check("a pipeline", pipeline.execute(), [1] * 10)
    found = set(client.scan_iter(match=prefix + "key*", count=9))
    check("a scan of the cluster", found, {f"{prefix}key{n}" for n in range(100)})
    check("a slot", client.keyslot("foo"), client.cluster_keyslot("foo"))
    client.close()


def tool(*words):
    if shutil.which(words[0]) is None:
        print(f"{words[0]} is not there")
        return ""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if done.returncode != 0 or "WARN" in done.stderr.upper():
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


host, port = ENDPOINTS[0]
library()
if said := tool("redis-cli", "-h", host, "-p", port, "ping"):
    check("redis-cli", said.strip(), "PONG")
if said := tool("redis-cli", "-h", host, "-p", port, "--cluster", "check", f"{host}:{port}"):
    check("redis-cli --cluster check", "[OK] All 16384 slots covered." in said, True)
for further in ([], ["--cluster"], ["-P", "16"]):
    words = ["-h", host, "-p", port, "-n", "2000", "-q", "-t", "set,get,incr,sadd,hset", *further]
    if said := tool("redis-benchmark", *words):
        check("redis-benchmark", (said.count("requests per second"), "WARN" in said), (5, False))
check("warnings", said_by_libraries, [])
print("clients of Redis: all as expected")
