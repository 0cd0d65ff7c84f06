#!/usr/bin/env python3
"""The same random requests to a real etcd and to Althing, over the JSON gateway, answers compared field by field.

usage: against_etcd.py HOST:PORT [SEED [ROUNDS]]. Starts an `etcd` of its own in a temporary directory; prints the first
requests that were answered differently, then "N compared, N differ". Everything is done under keys that begin with "~".
What etcd 3.4 does otherwise than 3.6, which is what Althing follows, is not asked: docs/compatibility-etcd.md has the list.
"""
import base64
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ALTHING = f"http://{sys.argv[1]}"
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 600
KEYS = [b"~" + key for key in (b"a", b"b", b"c", b"d", b"aa", b"ab", b"b\0", b"\0", b"zz", b"\xfe")]
LEASES = (9001, 9002)
FILTERS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")


def b64(data):
    return base64.b64encode(data).decode()


def post(base, path, body):
    request = urllib.request.Request(base + path, data=json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return {"error": json.loads(error.read())["message"]}


def comparable(answer):
    """Without what tells one cluster from another, and without what 3.4 does not say yet."""
    if isinstance(answer, list):
        return [comparable(part) for part in answer]
    if isinstance(answer, dict):
        ignored = ("cluster_id", "member_id", "raft_term")
        return {name: comparable(part) for name, part in answer.items() if name not in ignored}
    return answer


class Requests:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.start = self.revision = 0

    def ago(self, most):
        """A revision up to so many ago, but none from before the two were made equal."""
        return max(self.start, self.revision - self.random.randint(0, most))

    def key(self):
        return b64(self.random.choice(KEYS))

    def keys(self):
        ends = [b"", b"", b"", b"\x7f", b"~b", b"~", self.random.choice(KEYS)]
        return {"key": self.key(), "range_end": b64(self.random.choice(ends))}

    def range(self, revisions):
        read = self.keys() | {
            "limit": self.random.choice([0, 0, 0, 1, 2, 5]),
            "revision": self.random.choice(revisions),
            "sort_order": self.random.randint(0, 2),
            "sort_target": self.random.randint(0, 4),
            "keys_only": self.random.random() < 0.2,
            "count_only": self.random.random() < 0.1,
        }
        if self.random.random() < 0.3:
            read[self.random.choice(FILTERS)] = self.revision - self.random.randint(0, 12)
        return read

    def past(self):
        return [0, 0, 0, self.revision, self.ago(20)]

    def put(self):
        kind = self.random.random()
        if kind < 0.08:
            return {"key": self.key(), "ignore_value": True, "lease": self.random.choice([0, *LEASES])}
        if kind < 0.16:
            return {"key": self.key(), "ignore_lease": True, "value": b64(b"kept")}
        value = self.random.choice([b"", b"1", b"2", b"v%d" % self.random.randint(0, 9)])
        lease = self.random.choice([0, 0, 0, 0, 9999, *LEASES])
        return {"key": self.key(), "value": b64(value), "lease": lease, "prev_kv": self.random.random() < 0.4}

    def delete(self):
        keys = self.keys() if self.random.random() < 0.4 else {"key": self.key()}
        return keys | {"prev_kv": self.random.random() < 0.5}

    def compare(self):
        revision = self.revision - self.random.randint(0, 15)
        number = self.random.randint(0, 3)
        name, value = self.random.choice(
            [
                ("VERSION", {"version": number}),
                ("CREATE", {"create_revision": revision}),
                ("MOD", {"mod_revision": revision}),
                ("VALUE", {"value": b64(b"%d" % number)}),
                ("LEASE", {"lease": self.random.choice([0, *LEASES])}),
            ]
        )
        result = self.random.choice(["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])
        keys = self.keys() if self.random.random() < 0.3 else {"key": self.key()}
        return keys | {"target": name, "result": result} | value

    def operation(self, depth):
        kind = self.random.random()
        if kind < 0.35:
            # Etcd 3.4 looks for missing leases before it looks for revisions; so only revisions that can be read.
            return {"request_range": self.range([0, 0, self.revision])}
        if kind < 0.7:
            return {"request_put": self.put()}
        if kind < 0.88 or depth == 2:
            return {"request_delete_range": self.delete()}
        return {"request_txn": self.txn(depth + 1)}

    def txn(self, depth=0):
        def branch():
            return [self.operation(depth) for _ in range(self.random.randint(0, 4))]

        compare = [self.compare() for _ in range(self.random.randint(0, 2))]
        return {"compare": compare, "success": branch(), "failure": branch()}

    def next(self):
        kind = self.random.random()
        if kind < 0.3:
            return "/v3/kv/put", self.put()
        if kind < 0.55:
            return "/v3/kv/range", self.range([*self.past(), self.revision + 1])
        if kind < 0.64:
            return "/v3/kv/deleterange", self.delete()
        if kind < 0.96:
            return "/v3/kv/txn", self.txn()
        if kind < 0.98:
            return "/v3/kv/compaction", {"revision": self.random.choice([self.ago(15), self.revision + 1])}
        return "/v3/lease/revoke", {"ID": self.random.choice(LEASES)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_etcd(directory):
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    urls += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["etcd", "--name", "one", "--data-dir", directory, *urls], **silent)
    for _ in range(100):
        try:
            post(client, "/v3/kv/range", {"key": b64(b"~")})
            return process, client
        except OSError:
            time.sleep(0.1)
    process.kill()
    sys.exit("etcd did not start")


def revision_of(base):
    return int(post(base, "/v3/kv/range", {"key": b64(b"~")})["header"]["revision"])


def compare(etcd):
    bases = (etcd, ALTHING)
    for base in bases:
        post(base, "/v3/kv/deleterange", {"key": b64(b"~"), "range_end": b64(b"\x7f")})
    while revision_of(etcd) != revision_of(ALTHING):
        behind = min(bases, key=revision_of)
        for _ in range(abs(revision_of(etcd) - revision_of(ALTHING))):
            post(behind, "/v3/kv/put", {"key": b64(b"pad")})
    requests, compared, differ = Requests(SEED), 0, 0
    requests.start = revision_of(etcd)
    for round_number in range(ROUNDS):
        requests.revision = revision_of(etcd)
        batch = [requests.next()]
        if round_number % 50 == 0 or batch[0][0].endswith("revoke"):
            batch += [("/v3/lease/grant", {"TTL": 1000, "ID": lease}) for lease in LEASES]
        for path, body in batch:
            expected, found = (comparable(post(base, path, body)) for base in bases)
            compared += 1
            if expected != found:
                differ += 1
                print(f"DIFFERS {path} {json.dumps(body)}\n  etcd    {expected}\n  althing {found}")
            if differ == 5:
                return compared, differ
    return compared, differ


with tempfile.TemporaryDirectory() as directory:
    process, etcd = start_etcd(directory)
    try:
        compared, differ = compare(etcd)
    finally:
        process.terminate()
        process.wait()
for lease in LEASES:
    post(ALTHING, "/v3/lease/revoke", {"ID": lease})
print(f"{compared} compared, {differ} differ")
sys.exit(differ > 0)
