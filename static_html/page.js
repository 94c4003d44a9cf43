// Makes the page's commands those of this server, copyable, and the echo box live. Without it the
// page reads as well; it then shows the default address.

const port = location.port || (location.protocol === "https:" ? "443" : "80");
const host = location.hostname;
const bareHost = host.replace(/^\[|\]$/g, ""); // of [::1], as nc wants it

document.querySelector("[data-fill=address]").textContent = `${host}:${port}`;
for (const code of document.querySelectorAll("pre code")) {
  code.textContent = code.textContent
    .replace("http://127.0.0.1:8080", location.origin)
    .replace("nc 127.0.0.1 8080", `nc ${bareHost} ${port}`);
  if (code.dataset.command === "reload" && port !== "8080") code.textContent += ` --port ${port}`;
  if (navigator.clipboard) addCopyButton(code);
}

function addCopyButton(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  code.parentElement.append(button);
}

// What POST /echo says to `text`. Throws when it is not what was sent.
async function askEcho(text) {
  const begin = performance.now();
  const response = await fetch("/echo", {
    method: "POST",
    headers: { "Content-Type": "text/plain; charset=utf-8" },
    body: text,
  });
  const answer = await response.text();
  const took = performance.now() - begin;
  if (!response.ok) throw new Error(`${response.status}: ${answer.trim()}`);
  return { status: response.status, answer, took };
}

const form = document.getElementById("echo");
const output = document.getElementById("echo-answer");
output.textContent = "The answer appears here.";

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const { status, answer, took } = await askEcho(form.elements.text.value);
    const facts = document.createElement("small");
    facts.textContent = `${status}, ${took.toFixed(1)} ms`;
    output.className = "ok";
    output.replaceChildren(facts, answer);
  } catch (error) {
    output.className = "bad";
    output.textContent = `no answer: ${error.message}`;
  }
});

// Says beside the echo module whether it answers.
const state = document.getElementById("echo-state");
askEcho("").then(
  () => { state.textContent = "answers"; state.classList.add("ok"); },
  () => { state.textContent = "does not answer"; state.classList.add("bad"); },
).finally(() => { state.hidden = false; });
