// What the scripts for Node share: they print as JSON what a program got from the server.
"use strict";

const BINARY = Buffer.alloc(1 << 20, Uint8Array.from({ length: 256 }, (_, byte) => byte));
const PIPELINED = Array.from({ length: 1000 }, (_, number) => `number ${number}`);

/** A value as text, with its type. The members of a set are in order. */
function show(value) {
  if (value instanceof Set) return `Set{${[...value].map(show).sort().join(",")}}`;
  if (value instanceof Map) {
    return `Map{${[...value].map((pair) => pair.map(show).join(":")).join(",")}}`;
  }
  if (Buffer.isBuffer(value)) return `Buffer(${value.toString("latin1")})`;
  return JSON.stringify(value);
}

/** The exception that a promise ends with. */
async function tellError(promise) {
  try {
    return `no error, but ${show(await promise)}`;
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}

/** The value of each kind, as `call(words)` gives it. */
async function tellValues(values, call) {
  const told = {};
  for (const [kind, words] of Object.entries(values)) told[kind] = show(await call(words));
  return told;
}

/** Runs `main(task)`; what it returns is printed. */
function run(main) {
  const task = JSON.parse(process.argv[2]);
  main(task).then(
    (told) => console.log(JSON.stringify(told)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { BINARY, PIPELINED, run, show, tellError, tellValues };
