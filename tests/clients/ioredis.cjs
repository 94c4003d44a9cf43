// ioredis against a server. node ioredis.cjs TASK, with the TASK of redis_py.py.
"use strict";

const { BINARY, PIPELINED, run, show, tellError, tellValues } = require("./use_client.cjs");

async function nameItself(client) {
  await client.client("SETNAME", "worker-7");
  return client.client("GETNAME");
}

async function use(Redis, options, task) {
  const client = new Redis(task.port, "127.0.0.1", options);
  const pipeline = client.pipeline();
  for (const text of PIPELINED) pipeline.echo(text);
  const inOrder = await pipeline.exec();
  const mixed = await client.pipeline().echo("before").call(...task.error).echo("after").exec();
  const told = {
    ping: show(await client.ping()),
    binary: (await client.echoBuffer(BINARY)).equals(BINARY),
    pipeline: PIPELINED.every((text, at) => inOrder[at][0] === null && inOrder[at][1] === text),
    "error in pipeline": mixed.map(([error, reply]) => (error ? error.constructor.name : reply)),
    values: await tellValues(task.values, (words) => client.call(...words)),
    error: await tellError(client.call(...task.error)),
    unknown: await tellError(client.call("NO.SUCH", "one", "two")),
    name: await nameItself(client),
    version: /^redis_version:\d/m.test(await client.info()),
    "still there": show(await client.ping()),
  };
  await client.quit();
  return told;
}

run(async (task) => {
  const Redis = require(task.package);
  const told = {};
  for (const [variant, options] of Object.entries(task.variants)) {
    told[variant] = await use(Redis, options, task);
  }
  return told;
});
