// A client in Node, without a package: lines over a plain TCP connection, and fetch over HTTP, to
// the same port.
//
//     node client.mjs [PORT] [HOST]
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";

const port = Number(process.argv[2] ?? 8080);
const host = process.argv[3] ?? "127.0.0.1";

// One connection on which lines are asked and answered in order. Any number of asks may be under
// way: HRMR answers a connection's requests in the order they came.
class LineClient {
  #socket;
  #waiting = []; // { resolve, reject } of the asks that have no answer yet, oldest first

  static async connect(address) {
    const client = new LineClient(net.connect({ ...address, noDelay: true }));
    await once(client.#socket, "connect");
    return client;
  }

  constructor(socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket, crlfDelay: Infinity });
    lines.on("line", (line) => this.#waiting.shift()?.resolve(line));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
  }

  // For requests that are answered with one line.
  ask(line) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${line}\n`);
    });
  }

  close() {
    this.#socket.end();
  }

  #fail(error) {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

const client = await LineClient.connect({ port, host });
console.log(await client.ask("HELLO node"));
// Three at once; the answers keep their order.
console.log(await Promise.all(["one", "two", "three"].map((word) => client.ask(`ECHO ${word}`))));
client.close();

const response = await fetch(`http://${host}:${port}/echo`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ from: "node" }),
});
console.log(response.status, response.headers.get("content-type"), await response.json());
