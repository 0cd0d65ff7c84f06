#!/usr/bin/env python3
"""Client libraries of other people: etcd3gw and aetcd for Python, etcd3 for Node. What is not installed is skipped.

usage: libraries.py HOST:PORT. Prints a line per library, then "N passed, N failed, N skipped".
"""
import asyncio
import shutil
import subprocess
import sys

HOST, PORT = sys.argv[1].rsplit(":", 1)
count = {"passed": 0, "failed": 0, "skipped": 0}


def library(name, use):
    try:
        use()
        verdict, detail = "passed", ""
    except ImportError as missing:
        verdict, detail = "skipped", f": {missing}"
    except Exception as error:  # whatever a client throws is a failure to report
        verdict, detail = "failed", f": {type(error).__name__}: {error}"
    count[verdict] += 1
    print(f"{verdict} {name}{detail}")


def etcd3gw_client():
    import etcd3gw

    client = etcd3gw.client(host=HOST, port=int(PORT), api_path="/v3/")
    assert client.put("libraries/gw", "1") and client.get("libraries/gw") == [b"1"]
    assert client.create("libraries/gw-new", "x") in (True, False)
    assert client.replace("libraries/gw", "1", "2") and not client.replace("libraries/gw", "1", "3")
    lease = client.lease(ttl=20)
    client.put("libraries/gw-leased", "x", lease=lease)
    assert 0 < lease.ttl() <= 20 and lease.keys() == [b"libraries/gw-leased"]
    lease.revoke()
    assert client.get("libraries/gw-leased") == []
    with client.lock("libraries-gw", ttl=20) as lock:
        assert lock.is_acquired()
    assert client.delete("libraries/gw")


def aetcd_client():
    import aetcd

    async def use():
        async with aetcd.Client(host=HOST, port=int(PORT)) as client:
            await client.put(b"libraries/ae/1", b"one")
            await client.put(b"libraries/ae/2", b"two")
            keys = [kv.key async for kv in await as_async(client.get_prefix(b"libraries/ae/"))]
            assert keys == [b"libraries/ae/1", b"libraries/ae/2"], keys
            watch = await client.watch(b"libraries/ae/1")
            await client.put(b"libraries/ae/1", b"uno")
            async for event in watch:
                assert event.kv.value == b"uno"
                break
            assert await client.replace(b"libraries/ae/1", b"uno", b"eins")
            lease = await client.lease(20)
            await client.put(b"libraries/ae/leased", b"x", lease=lease)
            await lease.revoke()
            assert await client.get(b"libraries/ae/leased") is None

    async def as_async(result):
        values = await result if asyncio.iscoroutine(result) else result

        async def walk():
            for value in values:
                yield value

        return walk() if not hasattr(values, "__aiter__") else values

    asyncio.run(asyncio.wait_for(use(), 20))


NODE = """
const {Etcd3} = require('etcd3');
const main = async () => {
  const client = new Etcd3({hosts: 'http://%s'});
  await client.put('libraries/js/1').value('one');
  await client.put('libraries/js/2').value('two');
  const all = await client.getAll().prefix('libraries/js/').strings();
  if (Object.keys(all).length !== 2) throw new Error(JSON.stringify(all));
  const done = await client.if('libraries/js/1', 'Value', '==', 'one')
    .then(client.put('libraries/js/1').value('uno')).else(client.get('libraries/js/1')).commit();
  if (!done.succeeded) throw new Error('the transaction did not hold');
  const watcher = await client.watch().prefix('libraries/js/').create();
  const seen = new Promise(resolve => watcher.once('delete', resolve));
  await client.delete().key('libraries/js/2');
  await seen;
  await watcher.cancel();
  await client.lock('libraries-js').ttl(10).do(async () => undefined);
  client.close();
};
main().catch(error => { console.error(error.message); process.exit(1); });
"""


def node_client():
    if not shutil.which("node") or subprocess.run(["node", "-e", "require('etcd3')"], capture_output=True).returncode:
        raise ImportError("etcd3 for node")
    script = NODE % f"{HOST}:{PORT}"
    run = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr.strip()[-200:]


library("etcd3gw", etcd3gw_client)
library("aetcd", aetcd_client)
library("etcd3 for node", node_client)
print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
sys.exit(count["failed"] > 0)
