"""Servers of our own: one `codash dev` for its PostgreSQL, and `codash serve` beside it with the settings of a trial."""

import base64
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import tempfile
import time

from .trial import JSON
from .wire import Client, Place

WIDE = {
    "CODASH_LIMIT_READS_PER_MINUTE": "1000000", "CODASH_LIMIT_CREDENTIALS_PER_MINUTE": "1000000",
    "CODASH_LIMIT_REGISTRATIONS_PER_HOUR": "100000", "CODASH_LIMIT_LOGINS_PER_MINUTE": "100000", "CODASH_LOG": "error",
}


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Cluster:
    """`codash dev`, for its PostgreSQL; `database` makes empty ones in it."""

    def __init__(self, binary):
        self.binary, self.folder = binary, tempfile.TemporaryDirectory()
        ready = pathlib.Path(self.folder.name, "ready.json")
        self.log = open(pathlib.Path(self.folder.name, "log"), "wb")
        arguments = ["dev", "--ephemeral", "--no-demo", "--port", str(free_port()), "--ready-file", str(ready)]
        self.process = subprocess.Popen([binary, *arguments], stdout=self.log, stderr=self.log, env=os.environ | {"CODASH_LOG": "error"})
        for _ in range(600):
            if ready.is_file() and ready.stat().st_size:
                break
            if self.process.poll() is not None:
                raise SystemExit(f"codash dev ended: {pathlib.Path(self.log.name).read_text()[-500:]}")
            time.sleep(0.2)
        self.url = json.loads(ready.read_text())["databaseUrl"]

    def database(self):
        """An empty database with the schema, to which nobody else writes."""
        name = f"slow_{secrets.token_hex(4)}"
        psql(self.url, f"CREATE DATABASE {name}")
        url = f"{self.url.rsplit('/', 1)[0]}/{name}"
        subprocess.run([self.binary, "migrate"], env=os.environ | {"CODASH_DATABASE_URL": url, "CODASH_LOG": "error"}, check=True, stdout=self.log, stderr=self.log)
        return url

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        self.folder.cleanup()


def psql(url, statement):
    done = subprocess.run(["psql", url, "-XAtqc", statement], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


class Hold:
    """A statement that is held open in a transaction, such as a lock."""

    def __init__(self, url, statement):
        self.process = subprocess.Popen(["psql", url, "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(f"BEGIN;\n{statement};\nSELECT 'held';\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "held":
            if self.process.poll() is not None:
                raise RuntimeError("the lock was not taken")

    def release(self):
        self.process.stdin.write("ROLLBACK;\n\\q\n")
        self.process.stdin.close()
        self.process.wait(10)


class Server:
    """`codash serve` with settings, a workspace in it, and its process."""

    def __init__(self, cluster, database=None, port=None, **settings):
        self.database, self.port = database or cluster.database(), port or free_port()
        keys = {"CODASH_MASTER_KEYS": "a:" + base64.b64encode(bytes(32)).decode(), "CODASH_DATABASE_URL": self.database, "CODASH_LISTEN": f"127.0.0.1:{self.port}"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CODASH_")}
        self.process = subprocess.Popen([cluster.binary, "serve"], env=environment | WIDE | keys | settings, stdout=cluster.log, stderr=cluster.log)
        self.place = Place(f"http://127.0.0.1:{self.port}")
        for _ in range(300):
            try:
                if Client(self.place).ask("GET", "/health/ready").status == 200:
                    break
            except OSError:
                time.sleep(0.1)
            if self.process.poll() is not None:
                raise SystemExit("codash serve ended")

    def ask(self, method, path, key=None, body=None, headers=()):
        lines = [*headers, *([("authorization", f"Bearer {key}")] if key else []), *([JSON] if body is not None else [])]
        return Client(self.place).ask(method, path, lines, json.dumps(body) if body is not None else None)

    def register(self):
        return self.ask("POST", "/api/agents/register", body={"name": "slow"}).json["data"]

    def children(self, key, count, **more):
        return [self.ask("POST", "/api/keys/self/children", key, {"name": "slow", **more}).json["data"] for _ in range(count)]

    def rss(self):
        """Resident bytes of the process."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    def peak(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def crc_of(text):
    import zlib
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = BASE62[digit] + digits
    return digits


def made_up_key(body=None):
    """A key of good form that nobody has."""
    text = "kv_live_" + (body or "".join(secrets.choice(BASE62) for _ in range(43)))
    return text + crc_of(text)


def near_miss(key, n=1):
    """A key that differs from a real one in its last random letter, with a good checksum."""
    body = key[8:-6]
    return made_up_key(body[:-1] + BASE62[(BASE62.index(body[-1]) + n) % 62])


def pour(connection, data, count, mark=b"HTTP/1.1 401 "):
    """Sends many requests at once and waits for as many answers that begin so; reads no further into them."""
    connection.send(data)
    good, tail = 0, b""
    while good < count:
        piece = connection.socket.recv(1 << 18)
        if not piece:
            break
        tail += piece
        good += tail.count(mark)
        # A status line may be cut in two.
        tail = tail[1 - len(mark):]
    return good


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
