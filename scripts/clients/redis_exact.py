"""Transactions of clients of Redis on a strong table: WATCH, MULTI and EXEC of redis-py from eight connections to all nodes.

usage: redis_exact.py HOST:PORT,HOST:PORT,... TABLE

The table is that of database 0; it is reached by its name as well, as clients of clusters must.
"""

import sys
import threading

try:
    import redis
except ImportError:
    print("redis-py is not there")
    sys.exit(0)

ENDPOINTS = [endpoint.rsplit(":", 1) for endpoint in sys.argv[1].split(",")]
TABLE = sys.argv[2]
CLIENTS = 8
EACH = 40


def connect(number, **options):
    host, port = ENDPOINTS[number % len(ENDPOINTS)]
    return redis.Redis(host, int(port), decode_responses=True, **options)


def check(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def increments(number, aborted):
    client = connect(number, protocol=2 + number % 2)
    for _ in range(EACH):
        while True:
            with client.pipeline() as pipeline:
                try:
                    pipeline.watch("counter")
                    found = int(pipeline.get("counter") or 0)
                    pipeline.multi()
                    pipeline.set("counter", found + 1)
                    pipeline.incr("total")
                    pipeline.sadd("numbers", found + 1)
                    check("EXEC", pipeline.execute()[0], True)
                    break
                except redis.WatchError:
                    aborted.append(number)


def contended():
    aborted = []
    threads = [threading.Thread(target=increments, args=(number, aborted)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(len(ENDPOINTS)):
        client = connect(number)
        check("the counter", client.get("counter"), str(CLIENTS * EACH))
        check("the total", client.get("total"), str(CLIENTS * EACH))
        check("the numbers", client.scard("numbers"), CLIENTS * EACH)
    return len(aborted)


def composed():
    client, other = connect(0), connect(1)
    client.sadd("left", "a", "b")
    client.sadd("right", "b", "c")
    with client.pipeline() as pipeline:
        pipeline.sinterstore("both", ["left", "right"])
        pipeline.rename("both", "renamed")
        pipeline.smembers("renamed")
        pipeline.incrbyfloat("left", 1)
        found = pipeline.execute(raise_on_error=False)
    check("composed commands", found[:3], [1, True, {"b"}])
    check("what one is refused", isinstance(found[3], redis.ResponseError), True)
    check("the others stand", other.smembers("renamed"), {"b"})
    check("MSETNX", other.msetnx({"left": "x", "new": "y"}), False)
    check("MSETNX leaves nothing", client.exists("new"), 0)


def by_name():
    client = connect(2, username=f"anybody@{TABLE}", password="any")
    check("the table by its name", client.get("counter"), str(CLIENTS * EACH))
    host, port = ENDPOINTS[0]
    cluster = redis.RedisCluster(host, int(port), username=f"anybody@{TABLE}", password="any", decode_responses=True)
    check("a client of clusters", cluster.get("counter"), str(CLIENTS * EACH))
    client.flushall()
    check("FLUSHALL", client.dbsize(), 0)


aborted = contended()
composed()
by_name()
print(f"{CLIENTS * EACH} transactions of {CLIENTS} clients are exact, {aborted} were refused and made again")
