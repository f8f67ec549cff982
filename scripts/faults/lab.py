"""What the fault scripts share: a PostgreSQL and codash processes on loopback, in a temporary folder.

Python 3.9 or newer and PostgreSQL's programs; nothing else. Everything that a Lab starts it ends by process id,
and its folder goes at the end (--keep leaves it). PostgreSQL refuses to run as root: there, its programs run as
the user postgres, or nobody.
"""

import argparse
import base64
import glob
import http.client
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def arguments(about, **more):
    """The arguments that every script takes. `more`: name=(default, help)."""
    parser = argparse.ArgumentParser(description=about.strip().splitlines()[0])
    parser.add_argument("--codash", default=os.environ.get("CODASH_BIN", "codash"), help="the binary ($CODASH_BIN)")
    parser.add_argument("--keep", action="store_true", help="leave the folder, with every log")
    for name, (default, text) in more.items():
        parser.add_argument(
            "--" + name.replace("_", "-"), type=type(default), default=default, help=f"{text} ({default})"
        )
    return parser.parse_args()


class Report:
    """Checks, printed as they are made. `done` ends the script: 0 when all held."""

    def __init__(self, title):
        self.title, self.failed, self.lock = title, 0, threading.Lock()
        print(f"== {title}", flush=True)

    def say(self, text):
        print(f"   {text}", flush=True)

    def check(self, promise, holds, figures=""):
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {promise}{': ' if figures != '' else ''}{figures}", flush=True)

    def done(self):
        print(f"== {self.title}: {'everything held' if not self.failed else f'{self.failed} FAILED'}", flush=True)
        sys.exit(1 if self.failed else 0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, probe, seconds=60, pause=0.05):
    """Waits until `probe` answers something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(pause)
    raise TimeoutError(f"{what}: not within {seconds} s")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Answer:
    """What came back. Status 0: nothing, and `code` says why."""

    def __init__(self, status, headers, body, seconds, code=""):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds
        self.json = {}
        if body:
            try:
                self.json = json.loads(body)
            except ValueError:
                code = code or "not JSON"
        if not isinstance(self.json, dict):
            self.json = {"data": self.json}
        self.code = code or self.json.get("code") or ""

    @property
    def ok(self):
        return 200 <= self.status < 300

    @property
    def data(self):
        return self.json.get("data", self.json)

    @property
    def in_shape(self):
        """An error as the contract writes it."""
        j = self.json
        return j.get("success") is False and all(isinstance(j.get(k), str) for k in ("error", "code", "requestId"))


def call(url, method, path, body=None, key=None, headers=None, timeout=30.0):
    """One request on a connection of its own."""
    host, port = url.removeprefix("http://").split(":")
    send = {"accept": "application/json", **(headers or {})}
    if key:
        send["authorization"] = f"Bearer {key}"
    if body is not None:
        send["content-type"] = "application/json"
        body = json.dumps(body) if not isinstance(body, (bytes, str)) else body
    started = time.monotonic()
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=send)
        response = connection.getresponse()
        read = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, read, time.monotonic() - started)
    except (OSError, http.client.HTTPException) as fault:
        return Answer(0, {}, b"", time.monotonic() - started, type(fault).__name__)
    finally:
        connection.close()


class Process:
    """A process of ours, its log in a file."""

    def __init__(self, name, argv, env, log, user=None):
        self.name, self.log = name, log
        out = open(log, "ab")
        self.popen = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=user, cwd="/"
        )
        out.close()
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def end(self, seconds=15):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def tail(self, lines=15):
        return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-lines:])

    def memory(self):
        """Resident kilobytes and open files."""
        try:
            rss = next(l for l in Path(f"/proc/{self.pid}/status").read_text().splitlines() if l.startswith("VmRSS"))
            return int(rss.split()[1]), len(os.listdir(f"/proc/{self.pid}/fd"))
        except (OSError, StopIteration):
            return 0, 0


def postgres_programs():
    found = [os.path.dirname(p) for p in [shutil.which("initdb")] if p]
    try:
        found.append(subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True).stdout.strip())
    except OSError:
        pass
    places = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"]
    found += sorted((p for place in places for p in glob.glob(place)), reverse=True)
    for place in found:
        if all(os.path.exists(os.path.join(place, name)) for name in ("initdb", "pg_ctl", "psql", "pg_isready")):
            return place
    sys.exit("PostgreSQL's programs (initdb, pg_ctl, psql) were not found: install the server package")


def unprivileged():
    """The user that PostgreSQL runs as: somebody else under root, else ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    sys.exit("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


class Cluster:
    """A PostgreSQL of our own."""

    def __init__(self, lab, name, place=None, port=None):
        self.lab, self.name, self.port = lab, name, port or free_port()
        self.place = Path(place or lab.place / name)
        self.data, self.log = self.place / "data", lab.place / f"{name}.log"
        self.place.mkdir(exist_ok=True)
        if lab.pg_user:
            shutil.chown(self.place, lab.pg_user)
            self.log.touch()
            shutil.chown(self.log, lab.pg_user)

    def init(self, **settings):
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.configure(max_connections=300, shared_buffers="64MB", **settings)
        return self

    def configure(self, **settings):
        usual = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "timezone": "UTC"}
        with open(self.data / "postgresql.conf", "a") as conf:
            for name, value in {**usual, **settings}.items():
                conf.write(f"{name} = '{value}'\n")

    def run(self, program, *rest, check=True, timeout=120):
        argv = [os.path.join(self.lab.pg, program), *map(str, rest)]
        with tempfile.TemporaryFile() as out:
            done = subprocess.run(
                argv,
                user=self.lab.pg_user,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                timeout=timeout,
                cwd="/",
                env=self.lab.env_pg(),
            )
            out.seek(0)
            text = out.read().decode(errors="replace")
        if check and done.returncode:
            raise RuntimeError(f"{program}: {text}")
        return text

    def start(self, wait=True):
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w" if wait else "-W", "-t", "60", "start")
        self.lab.clusters.add(self)
        return self

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", mode, "stop", check=False)
        self.lab.clusters.discard(self)

    def accepts(self):
        return (
            "accepting"
            in self.run("pg_isready", "-h", "127.0.0.1", "-p", self.port, "-t", "1", check=False).split("-")[-1]
        )

    def url(self, database="codash", port=None):
        return f"postgres://postgres@127.0.0.1:{port or self.port}/{database}"

    def sql(self, text, database="codash", check=True):
        """Rows, each a list of texts."""
        out = self.run(
            "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-F",
            "\t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            self.url(database),
            "-c",
            text,
            check=check,
        )
        return [line.split("\t") for line in out.splitlines() if line]

    def one(self, text, database="codash"):
        rows = self.sql(text, database)
        return rows[0][0] if rows else None

    def left_open(self, seconds=10):
        """Transactions that stay open though nobody asks anything: state, age, last statement."""
        open_now = """SELECT state, now() - xact_start, left(query, 100) FROM pg_stat_activity
                      WHERE state LIKE 'idle in transaction%'"""
        end = time.monotonic() + seconds
        while (left := self.sql(open_now)) and time.monotonic() < end:
            time.sleep(0.2)
        return left


class Lab:
    """Owns the folder, the clusters and the processes."""

    def __init__(self, args, name):
        self.codash, self.keep = shutil.which(args.codash) or args.codash, args.keep
        if not os.path.exists(self.codash):
            sys.exit(f"no such binary: {self.codash} (--codash or $CODASH_BIN)")
        self.pg, self.pg_user = postgres_programs(), unprivileged()
        self.place = Path(tempfile.mkdtemp(prefix=f"codash-{name}-"))
        self.place.chmod(0o755)
        self.processes, self.clusters, self.ends = [], set(), []
        self.master = "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.alive():
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in self.processes:
            process.end(5)
        for cluster in list(self.clusters):
            cluster.stop("immediate")
        for end in reversed(self.ends):
            end()
        if self.keep:
            print(f"   kept: {self.place}")
        else:
            shutil.rmtree(self.place, ignore_errors=True)

    def env_pg(self):
        return {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.place), "PGCONNECT_TIMEOUT": "10"}

    def env(self, url, **more):
        """What a codash process is told: no limit is in the way, unless said."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place),
            "CODASH_DATABASE_URL": url,
            "CODASH_MASTER_KEYS": self.master,
            "CODASH_LOG": "warn",
            "CODASH_LIMIT_READS_PER_MINUTE": "1000000",
            "CODASH_LIMIT_CREDENTIALS_PER_MINUTE": "1000000",
            "CODASH_LIMIT_REGISTRATIONS_PER_HOUR": "1000000",
            **{k: str(v) for k, v in more.items()},
        }

    def start(self, name, argv, env):
        process = Process(name, [str(a) for a in argv], env, self.place / f"{name}.log")
        self.processes.append(process)
        return process

    def codash_once(self, url, *rest, binary=None, **more):
        done = subprocess.run(
            [binary or self.codash, *map(str, rest)],
            env=self.env(url, **more),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"codash {rest[0]}: {done.stderr}")
        return done.stdout.strip()

    def database(self, **settings):
        """A cluster with a migrated database."""
        cluster = Cluster(self, "primary").init(**settings).start()
        cluster.sql("CREATE DATABASE codash", "postgres")
        self.codash_once(cluster.url(), "migrate")
        return cluster

    def serve(self, url, name="serve", binary=None, **more):
        """A server that answers. `process.url` is where."""
        port = free_port()
        process = self.start(
            name, [binary or self.codash, "serve", "--listen", f"127.0.0.1:{port}"], self.env(url, **more)
        )
        process.url = f"http://127.0.0.1:{port}"
        wait_for(f"{name} is ready ({process.log})", lambda: call(process.url, "GET", "/health/ready").status == 200)
        return process

    def work(self, url, kind, name, **more):
        return self.start(name, [self.codash, kind], self.env(url, **more))

    def paper(self, *rest, name="paper"):
        port = free_port()
        process = self.start(name, [self.codash, "paper-exchange", "--port", port, *rest], self.env("postgres://none"))
        process.url = f"http://127.0.0.1:{port}"
        wait_for("the paper exchange answers", lambda: call(process.url, "GET", "/paper").status == 200, 120)
        return process


def register(url, name="faults"):
    answer = call(url, "POST", "/api/agents/register", {"name": name})
    if not answer.ok:
        raise RuntimeError(f"register: {answer.status} {answer.body!r}")
    return answer.data["apiKey"], answer.data["workspaceId"]
