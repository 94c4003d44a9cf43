// node-redis against a server. node node_redis.cjs TASK, with the TASK of redis_py.py.
"use strict";

const { BINARY, PIPELINED, run, show, tellError, tellValues } = require("./use_client.cjs");

/** ECHO of binary: how a client is told to give bytes changed between its majors. */
function echoBinary(redis, client) {
  if (redis.commandOptions) {
    return client.echo(redis.commandOptions({ returnBuffers: true }), BINARY);
  }
  return client.withTypeMapping({ [redis.RESP_TYPES.BLOB_STRING]: Buffer }).echo(BINARY);
}

async function nameItself(client) {
  await client.clientSetName("worker-7");
  return client.clientGetName();
}

async function use(redis, options, task) {
  const client = redis.createClient({ url: `redis://127.0.0.1:${task.port}`, ...options });
  client.on("error", (error) => console.error(error));
  await client.connect();
  const inOrder = await Promise.all(PIPELINED.map((text) => client.echo(text)));
  const mixed = await Promise.allSettled([
    client.echo("before"),
    client.sendCommand(task.error),
    client.echo("after"),
  ]);
  const told = {
    ping: show(await client.ping()),
    binary: (await echoBinary(redis, client)).equals(BINARY),
    pipeline: PIPELINED.every((text, at) => inOrder[at] === text),
    "error in pipeline": mixed.map(({ reason, value }) => reason?.constructor.name ?? value),
    values: await tellValues(task.values, (words) => client.sendCommand(words)),
    error: await tellError(client.sendCommand(task.error)),
    unknown: await tellError(client.sendCommand(["NO.SUCH", "one", "two"])),
    name: await nameItself(client),
    version: /^redis_version:\d/m.test(await client.info()),
    "still there": show(await client.ping()),
  };
  await (client.close ?? client.quit).call(client);
  return told;
}

run(async (task) => {
  const redis = require(task.package);
  const told = {};
  for (const [variant, options] of Object.entries(task.variants)) {
    told[variant] = await use(redis, options, task);
  }
  return told;
});
