#!/usr/bin/env python3
"""What counting in Redis adds to an authenticated GET: two `codash serve` on one database, one with
CODASH_REDIS_URL and one without, asked by turns over one connection each.

    scripts/limits-latency.py target/release/codash [REQUESTS]

Needs redis-server or valkey-server on the PATH. Starts everything it needs, and ends it.
"""
import http.client, json, os, pathlib, random, shutil, socket, subprocess, sys, tempfile, time

codash, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000
server = shutil.which("valkey-server") or shutil.which("redis-server") or sys.exit("no valkey-server, no redis-server")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
settings = {f"CODASH_LIMIT_{name}": "1000000" for name in ("READS_PER_MINUTE", "READS_PER_KEY_MAX", "CREDENTIALS_PER_MINUTE")}
started = []


def start(command, log=subprocess.DEVNULL, **environment):
    started.append(subprocess.Popen(command, env={**os.environ, **settings, **environment}, stdout=subprocess.DEVNULL, stderr=log))


def until(found):
    for _ in range(600):
        if (value := found()) is not None:
            return value
        time.sleep(0.1)
    sys.exit("it does not start")


def address(log):
    words = [word for word in log.read_text().split() if word.startswith("server.address=")]
    return words[0].split("=")[1] if words else None


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    try:
        start([server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        ready = folder / "ready.json"
        start([codash, "dev", "--data-dir", str(folder / "data"), "--no-demo", "--port", "0", "--ready-file", str(ready)])
        ready = until(lambda: json.loads(ready.read_text()) if ready.exists() else None)
        clients, logs = [], []
        for extra in ({}, {"CODASH_REDIS_URL": f"redis://127.0.0.1:{port}/"}):
            logs.append(folder / f"log-{len(logs)}")
            start([codash, "serve"], log=logs[-1].open("w"), CODASH_DATABASE_URL=ready["databaseUrl"],
                  CODASH_MASTER_KEY_FILE=str(folder / "data" / "master-key"), CODASH_LISTEN="127.0.0.1:0", **extra)
            clients.append(http.client.HTTPConnection(until(lambda: address(logs[-1]))))
        took = [[], []]
        for _ in range(count):
            for which in random.sample((0, 1), 2):
                begun = time.perf_counter_ns()
                clients[which].request("GET", "/api/accounts", headers={"authorization": "Bearer " + ready["apiKey"]})
                reply = clients[which].getresponse()
                reply.read()
                took[which].append((time.perf_counter_ns() - begun) // 1000)
                assert reply.status == 200, reply.status
        for percent in (10, 50, 90, 99):
            local, shared = (sorted(times)[len(times) * percent // 100] for times in took)
            print(f"p{percent}: {local} us alone, {shared} us with Redis: {shared / local:.2f}")
        print("outages noticed:", logs[1].read_text().count("each process counts"))
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
