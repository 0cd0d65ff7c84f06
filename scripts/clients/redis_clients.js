// A tour of a convergent table with clients of Redis for Node.js: node-redis and ioredis, one node and the cluster, RESP2 and RESP3.
// What a client says on standard error or as a warning of the process is a failure.
//
// usage: NODE_PATH=… node redis_clients.js HOST:PORT,HOST:PORT,...
"use strict";
const assert = require("node:assert/strict");

const endpoints = process.argv[2].split(",").map((text) => {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
});
const first = endpoints[0];
const last = endpoints[endpoints.length - 1];

const warnings = [];
process.on("warning", (warning) => warnings.push(String(warning)));
for (const name of ["warn", "error"]) {
  console[name] = (...words) => warnings.push(words.join(" "));
}

function load(name) {
  try {
    return require(name);
  } catch {
    console.log(`${name} is not there`);
    return undefined;
  }
}

/// Waits for a promise of something that must come soon.
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), 10_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/// Says something until somebody on another node hears it: who has just begun to listen may not be known there yet.
async function publishUntil(heard, publish, what) {
  let isOver = false;
  const over = soon(heard, what).finally(() => (isOver = true));
  while (!isOver) {
    await publish();
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  return over;
}

const numbers = (object) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, Number(value)]));

/// What node-redis is asked, of one node or of the cluster.
async function nodeRedisTour(client, prefix) {
  assert.equal(await client.set(prefix + "s", "v", { EX: 100 }), "OK");
  assert.equal(await client.get(prefix + "s"), "v");
  assert.ok((await client.ttl(prefix + "s")) > 90);
  assert.equal(await client.incrBy(prefix + "n", 5), 5);
  assert.equal(await client.hSet(prefix + "h", { a: "1", b: "2" }), 2);
  assert.deepEqual({ ...(await client.hGetAll(prefix + "h")) }, { a: "1", b: "2" });
  assert.equal(await client.sAdd(prefix + "set", ["x", "y"]), 2);
  assert.deepEqual([...(await client.sMembers(prefix + "set"))].sort(), ["x", "y"]);
  assert.equal(await client.zAdd(prefix + "z", [{ score: 1, value: "a" }, { score: 2.5, value: "b" }]), 2);
  assert.deepEqual(
    (await client.zRangeWithScores(prefix + "z", 0, -1)).map(({ score, value }) => [value, score]),
    [["a", 1], ["b", 2.5]],
  );
  const many = client.multi().set(prefix + "m", "1").incr(prefix + "m").get(prefix + "m");
  assert.deepEqual([...(await many.exec())], ["OK", 2, "2"]);
  const all = await Promise.all(Array.from({ length: 100 }, (_, at) => client.set(`${prefix}k${at}`, String(at))));
  assert.ok(all.every((said) => said === "OK"));
}

async function nodeRedis(redis) {
  const { createClient, createCluster } = redis;
  for (const RESP of [2, 3]) {
    const single = createClient({ socket: first, RESP });
    single.on("error", (error) => warnings.push(`node-redis: ${error}`));
    await soon(single.connect(), "a connection of node-redis");
    await nodeRedisTour(single, `{nr${RESP}}`);
    const listener = createClient({ socket: last, RESP });
    await soon(listener.connect(), "another connection of node-redis");
    const heard = new Promise((resolve) => listener.subscribe(`nr:${RESP}`, (said) => resolve(said)));
    assert.equal(await publishUntil(heard, () => single.publish(`nr:${RESP}`, "hello"), "a message"), "hello");
    const keys = new Set();
    for await (const page of single.scanIterator({ MATCH: `{nr${RESP}}k*`, COUNT: 9 })) [page].flat().forEach((key) => keys.add(key));
    assert.equal(keys.size, 100);
    await listener.close();
    await single.close();
    const cluster = createCluster({ rootNodes: endpoints.map((socket) => ({ socket })), defaults: { RESP } });
    cluster.on("error", (error) => warnings.push(`node-redis: ${error}`));
    await soon(cluster.connect(), "a cluster of node-redis");
    assert.equal(cluster.masters.length, endpoints.length);
    await nodeRedisTour(cluster, `{nrc${RESP}}`);
    const spread = await Promise.all(Array.from({ length: 100 }, (_, at) => cluster.incr(`nrc${RESP}:${at}`)));
    assert.ok(spread.every((number) => number >= 1));
    await cluster.close();
  }
}

/// What ioredis is asked, of one node or of the cluster.
async function ioredisTour(client, prefix) {
  assert.equal(await client.set(prefix + "s", "v", "EX", 100), "OK");
  assert.equal(await client.get(prefix + "s"), "v");
  assert.equal(await client.incrby(prefix + "n", 5), 5);
  assert.equal(await client.hset(prefix + "h", { a: 1, b: 2 }), 2);
  assert.deepEqual(numbers(await client.hgetall(prefix + "h")), { a: 1, b: 2 });
  assert.equal(await client.sadd(prefix + "set", "x", "y"), 2);
  assert.deepEqual([...(await client.smembers(prefix + "set"))].sort(), ["x", "y"]);
  assert.equal(await client.zadd(prefix + "z", 1, "a", 2.5, "b"), 2);
  assert.deepEqual((await client.zrange(prefix + "z", 0, -1, "WITHSCORES")).flat().map(String), ["a", "1", "b", "2.5"]);
  const said = await client.multi().set(prefix + "m", "1").incr(prefix + "m").get(prefix + "m").exec();
  assert.deepEqual(said, [[null, "OK"], [null, 2], [null, "2"]]);
  const pipeline = client.pipeline();
  for (let at = 0; at < 100; at += 1) pipeline.set(`${prefix}k${at}`, at);
  assert.ok((await pipeline.exec()).every(([error, answer]) => error === null && answer === "OK"));
}

async function ioredis(Redis) {
  for (const protocol of [2, 3]) {
    const single = new Redis({ ...first, protocol });
    single.on("error", (error) => warnings.push(`ioredis: ${error}`));
    await soon(single.ping(), "an answer to ioredis");
    await ioredisTour(single, `{io${protocol}}`);
    const listener = new Redis({ ...last, protocol });
    await listener.subscribe(`io:${protocol}`);
    const heard = new Promise((resolve) => listener.on("message", (_, said) => resolve(said)));
    assert.equal(await publishUntil(heard, () => single.publish(`io:${protocol}`, "hello"), "a message"), "hello");
    const popped = listener.duplicate();
    const pop = popped.bzpopmin(`{io${protocol}}queue`, 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await single.zadd(`{io${protocol}}queue`, 7, "job");
    assert.deepEqual((await soon(pop, "what was waited for")).map(String), [`{io${protocol}}queue`, "job", "7"]);
    [single, listener, popped].forEach((client) => client.disconnect());
    const cluster = new Redis.Cluster(endpoints, { redisOptions: { protocol } });
    cluster.on("error", (error) => warnings.push(`ioredis: ${error}`));
    await soon(new Promise((resolve) => cluster.on("ready", resolve)), "a cluster of ioredis");
    assert.equal(cluster.nodes("master").length, endpoints.length);
    await ioredisTour(cluster, `{ioc${protocol}}`);
    const spread = await Promise.all(Array.from({ length: 100 }, (_, at) => cluster.incr(`ioc${protocol}:${at}`)));
    assert.ok(spread.every((number) => number >= 1));
    cluster.disconnect();
  }
}

async function main() {
  const redis = load("redis");
  if (redis) await nodeRedis(redis);
  const Redis = load("ioredis");
  if (Redis) await ioredis(Redis);
  assert.deepEqual(warnings, []);
  console.log("clients of Redis for Node.js: all as expected");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.log(error.stack ?? String(error), warnings.join("\n"));
    process.exit(1);
  },
);
