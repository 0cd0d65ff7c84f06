#!/usr/bin/env python3
"""The JSON gateway and the plain HTTP paths, with nothing but Python's standard library.

usage: json_gateway.py HOST:PORT. Prints a line per failing check, then "N passed, N failed".
"""
import base64
import json
import sys
import threading
import urllib.error
import urllib.request

BASE = f"http://{sys.argv[1]}"
count = {True: 0, False: 0}


def b64(text):
    return base64.b64encode(text.encode()).decode()


def call(path, body=None, timeout=10):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(BASE + path, data=data), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def post(path, body):
    status, text = call(path, body)
    return status, json.loads(text)


def check(name, holds, seen=""):
    count[bool(holds)] += 1
    if not holds:
        print(f"FAILED {name}: {seen}")


status, answer = post("/v3/kv/put", {"key": b64("json/a"), "value": b64("1")})
check("put", status == 200 and int(answer["header"]["revision"]) > 1, answer)
revision = answer["header"]["revision"]
check("64-bit numbers are strings", isinstance(revision, str), answer)
status, answer = post("/v3/kv/range", {"key": b64("json/a")})
check("range", answer["kvs"][0]["value"] == b64("1") and answer["count"] == "1", answer)
status, answer = post(
    "/v3/kv/txn",
    {
        "compare": [{"key": b64("json/a"), "target": "VALUE", "result": "EQUAL", "value": b64("1")}],
        "success": [{"requestPut": {"key": b64("json/a"), "value": b64("2")}}],
        "failure": [{"request_range": {"key": b64("json/a")}}],
    },
)
check("txn, in either spelling", answer.get("succeeded") is True, answer)
status, answer = post("/v3/lease/grant", {"TTL": "30"})
lease = answer["ID"]
check("grant", answer["TTL"] == "30", answer)
status, answer = post("/v3/lease/keepalive", {"ID": lease})
check("keepalive", answer["result"]["TTL"] == "30", answer)
status, answer = post("/v3/lease/revoke", {"ID": lease})
check("revoke", status == 200, answer)
status, answer = post("/v3/lease/revoke", {"ID": lease})
check("revoke twice", status == 404 and answer["message"] == "etcdserver: requested lease not found", (status, answer))
status, answer = post("/v3/kv/range", {})
check("no key", status == 400 and answer["message"] == "etcdserver: key is not provided", (status, answer))
status, answer = post("/v3/kv/range", {"key": b64("json/a"), "revision": "999999999"})
check("a future revision", status == 400 and "future revision" in answer["message"], (status, answer))
status, answer = post("/v3/cluster/member/list", {})
check("members", len(answer["members"]) >= 1, answer)
status, answer = post("/v3/maintenance/status", {})
check("status", answer["version"].startswith("3.6"), answer)

events = []


def watch():
    body = json.dumps({"create_request": {"key": b64("json/w"), "start_revision": revision}}).encode()
    with urllib.request.urlopen(urllib.request.Request(BASE + "/v3/watch", data=body), timeout=10) as stream:
        for line in stream:
            result = json.loads(line)["result"]
            events.extend(result.get("events", []))
            if events:
                return


watcher = threading.Thread(target=watch)
watcher.start()
post("/v3/kv/put", {"key": b64("json/w"), "value": b64("seen")})
watcher.join(10)
check("watch", events and events[0]["kv"]["value"] == b64("seen"), events)

for path, expected in [
    ("/health", '"health":"true"'),
    ("/readyz", "ok"),
    ("/livez", "ok"),
    ("/version", '"etcdserver":"3.6'),
    ("/metrics", "# TYPE"),
]:
    status, text = call(path)
    check(path, status == 200 and expected in text, (status, text[:200]))
status, text = call("/no/such/path")
check("an unknown path is not found", status == 404, (status, text[:200]))
status, text = call("/v3/kv/put", None)
check("GET where POST is meant", status in (404, 405, 501), (status, text[:200]))

print(f"{count[True]} passed, {count[False]} failed")
sys.exit(count[False] > 0)
