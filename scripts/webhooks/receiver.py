#!/usr/bin/env python3
"""Receives webhooks and verifies every one with the Python library of Standard Webhooks.

Each message is a JSON line in LOG: its path, `webhook-id`, the SHA-256 of its body, the verdict of the library for
each secret of its path, and what was answered. SECRETS is a JSON file, path → list of secrets, read anew whenever
it changes. The last part of the path says what is answered:

    ok        204
    flaky     500 to the first try of every fifth id, then 204
    busy      503 with Retry-After: 20 to the first try of an id, then 204
    redirect  302 to /landing, where nothing must ever arrive
    gone      410
    slow      204 after 20 s
    big       200 with a megabyte

    pip install standardwebhooks
    python3 scripts/webhooks/receiver.py --port 9100 --log LOG --secrets SECRETS
"""

import argparse
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError


class Secrets:
    def __init__(self, path):
        self.path, self.stamp, self.known = Path(path), None, {}

    def of(self, path):
        stamp = self.path.stat().st_mtime_ns if self.path.exists() else None
        if stamp != self.stamp:
            self.known, self.stamp = json.loads(self.path.read_text()), stamp
        return self.known.get(path, [])


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen, lock = {}, threading.Lock()

    def verdict(self, secret, body):
        try:
            Webhook(secret).verify(body, dict(self.headers.items()))
            return "verified"
        except (WebhookVerificationError, ValueError) as refusal:
            return str(refusal)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        message = self.headers.get("webhook-id", "")
        verdicts = [self.verdict(secret, body) for secret in self.server.secrets.of(self.path)]
        with self.lock:
            tries = self.seen[message] = self.seen.get(message, 0) + 1
        status, headers, reply, pause = self.answer(self.path.rsplit("/", 1)[-1], message, tries)
        line = {
            "at": time.time(),
            "path": self.path,
            "id": message,
            "sha256": hashlib.sha256(body).hexdigest(),
            "bytes": len(body),
            "verdicts": verdicts,
            "status": status,
            "try": tries,
        }
        with self.lock, open(self.server.log, "a") as log:
            log.write(json.dumps(line) + "\n")
        time.sleep(pause)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST

    def answer(self, how, message, tries):
        if how == "flaky" and tries == 1 and int(hashlib.sha256(message.encode()).hexdigest(), 16) % 5 == 0:
            return 500, {}, b"later", 0
        if how == "busy" and tries == 1:
            return 503, {"retry-after": "20"}, b"busy", 0
        if how == "redirect":
            return 302, {"location": f"http://{self.headers['host']}/landing"}, b"", 0
        if how == "gone":
            return 410, {}, b"gone", 0
        if how == "big":
            return 200, {}, b"x" * 1_000_000, 0
        return 204, {}, b"", 20 if how == "slow" else 0

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            # The sender died, which is what this is about.
            self.close_connection = True

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--log", required=True)
    parser.add_argument("--secrets", required=True)
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Receiver)
    server.daemon_threads = True
    server.log, server.secrets = args.log, Secrets(args.secrets)
    server.serve_forever()


if __name__ == "__main__":
    main()
