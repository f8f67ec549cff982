// Receives webhooks and verifies every one with the JavaScript library of Standard Webhooks.
//
// Each message is a JSON line in LOG: its path, `webhook-id`, the SHA-256 of its body, the verdict of the library
// for each secret of its path, and what was answered. SECRETS is a JSON file, path → list of secrets, read anew for
// every message. Paths that end in /flaky get a 500 at the first try of every fifth id; all others a 204.
//
//     npm install standardwebhooks        (elsewhere: NODE_PATH=…/node_modules)
//     node scripts/webhooks/receiver.js --port 9101 --log LOG --secrets SECRETS
"use strict";

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const { Webhook } = require("standardwebhooks");

function argument(name) {
  const at = process.argv.indexOf("--" + name);
  if (at < 0 || !process.argv[at + 1]) throw new Error(`--${name} is needed`);
  return process.argv[at + 1];
}

const [port, log, secrets] = [Number(argument("port")), argument("log"), argument("secrets")];
const seen = new Map();

function verdict(secret, body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return "verified";
  } catch (refusal) {
    return String(refusal.message);
  }
}

function secretsOf(path) {
  return fs.existsSync(secrets) ? JSON.parse(fs.readFileSync(secrets, "utf8"))[path] || [] : [];
}

function take(request, body) {
  const id = request.headers["webhook-id"] || "";
  const tries = (seen.get(id) || 0) + 1;
  seen.set(id, tries);
  const digest = createHash("sha256").update(id).digest();
  const isSpoiled = request.url.endsWith("/flaky") && tries === 1 && digest[31] % 5 === 0;
  const line = {
    at: Date.now() / 1000,
    path: request.url,
    id,
    sha256: createHash("sha256").update(body).digest("hex"),
    bytes: body.length,
    verdicts: secretsOf(request.url).map((secret) => verdict(secret, body.toString("utf8"), request.headers)),
    status: isSpoiled ? 500 : 204,
    try: tries,
  };
  fs.appendFileSync(log, JSON.stringify(line) + "\n");
  return line.status;
}

http
  .createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    // A sender that dies in the middle has sent nothing.
    request.on("error", () => {});
    response.on("error", () => {});
    request.on("end", () => {
      response.writeHead(take(request, Buffer.concat(parts)));
      response.end();
    });
  })
  .listen(port, "127.0.0.1");
