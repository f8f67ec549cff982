"""Reads and writes with a ledger kept by the client: what was acknowledged must still be there at the end.

Each rewriter owns one thing (an account, an automation) and gives it name after name, one request at a time. A
name that was acknowledged replaced every earlier one; a name without an answer may have come or not. So
whenever the thing is read, its name must be the last acknowledged one, or one of those without an answer that
were sent since. Registrations are kept by their keys: each key that was handed out must open.
"""

import collections
import threading
import time

from lab import call, percentile, register

# What the contract answers while the database is away: nothing else may come.
AWAY = {504}
READS = [
    ("GET", "/api/accounts"),
    ("GET", "/api/portfolio"),
    ("GET", "/api/forensics/pnl-by-symbol?days=30"),
    ("GET", "/api/trade-events?limit=50"),
    ("GET", "/api/metrics"),
    ("GET", "/api/portfolio/history?days=7"),
    ("MCP", "get_pnl_by_symbol"),
    ("MCP", "list_accounts"),
]
Seen = collections.namedtuple("Seen", "kind start end status code in_shape what")


class Load:
    def __init__(self, url, key, rate=50, readers=4, clock=time.monotonic):
        self.url, self.key, self.clock = url, key, clock
        self.seen, self.lost, self.lock = [], [], threading.Lock()
        self.keys, self.rewriters, self.threads = [], [], []
        # While set, nothing is renamed and nothing is judged; registrations and reads go on.
        self.stopping, self.paused = threading.Event(), threading.Event()
        self.pause = readers / rate
        self.readers = readers

    def ask(self, kind, method, path, body=None, key=None, headers=None):
        start = self.clock()
        if method == "MCP":
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": path, "arguments": {}}}
            answer = call(self.url, "POST", "/mcp", body, key or self.key)
            failed = answer.status == 200 and ("error" in answer.json or answer.json.get("result", {}).get("isError"))
            status = answer.status if not failed else 598
            # JSON-RPC has an envelope of its own: with a 200 there is nothing to judge.
            shape = answer.status == 200 or answer.in_shape or "jsonrpc" in answer.json
            code = answer.code or ("JSON-RPC " + str(answer.json.get("error", {}).get("code")) if failed else "")
        else:
            answer = call(self.url, method, path, body, key or self.key, headers)
            status, shape, code = answer.status, answer.ok or answer.in_shape, answer.code
        with self.lock:
            self.seen.append(Seen(kind, start, self.clock(), status, code, shape, path))
        return answer

    def start(self, accounts=(), automations=(), registering=True):
        self.rewriters = [Rewriter(self, "/api/accounts/" + a) for a in accounts]
        self.rewriters += [Rewriter(self, "/api/automations/" + a, "name", False) for a in automations]
        steps = [r.step for r in self.rewriters] + ([self.register] if registering else [])
        self.threads = [threading.Thread(target=self.loop, args=(s, 0.05), daemon=True) for s in steps]
        for n in range(self.readers):
            self.threads.append(threading.Thread(target=self.loop, args=(self.reader(n), self.pause), daemon=True))
        for thread in self.threads:
            thread.start()
        return self

    def loop(self, step, pause):
        while not self.stopping.is_set():
            began = time.monotonic()
            step()
            time.sleep(max(0.0, pause - (time.monotonic() - began)))

    def reader(self, n):
        turn = [n]

        def step():
            turn[0] += 1
            self.ask("read", *READS[turn[0] % len(READS)])

        return step

    def register(self):
        answer = self.ask("write", "POST", "/api/agents/register", {"name": "ledger"})
        if answer.ok:
            self.keys.append(answer.data["apiKey"])
        time.sleep(0.1)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def settle(self):
        """Reads everything that was acknowledged once more. What is lost goes to `lost`."""
        for rewriter in self.rewriters:
            rewriter.read()
        for key in self.keys:
            answer = call(self.url, "GET", "/api/accounts", key=key)
            if not answer.ok:
                self.lost.append(f"a registration: {answer.status} {answer.code}")
        return self.lost

    # What was seen.

    def count(self, kind=None, since=0.0, until=float("inf")):
        with self.lock:
            seen = list(self.seen)
        found = collections.Counter()
        for one in seen:
            if (kind is None or one.kind == kind) and since <= one.start < until:
                found[(one.status, one.code if one.status >= 400 or one.status == 0 else "")] += 1
        return found

    def words(self, **which):
        return ", ".join(
            f"{n}× {status}{' ' + code if code else ''}" for (status, code), n in self.count(**which).most_common()
        )

    def acknowledged(self):
        return len(self.keys) + sum(r.acked_count for r in self.rewriters)

    def first_success(self, since, kinds=("read", "write")):
        """Seconds from `since` to the end of the first success of each kind that began after it."""
        with self.lock:
            seen = list(self.seen)
        return [
            min(
                (s.end - since for s in seen if s.kind == kind and s.start >= since and 200 <= s.status < 300),
                default=float("inf"),
            )
            for kind in kinds
        ]

    def check(self, report, deadline=10.25, allowed=AWAY):
        """The promises that hold under every fault."""
        seen = list(self.seen)
        slow = max((s.end - s.start for s in seen), default=0.0)
        report.check(
            "no answer is slower than the deadline",
            slow <= deadline,
            f"{len(seen)} answers, slowest {slow:.2f} s, "
            f"p99 {percentile([s.end - s.start for s in seen], 0.99) * 1000:.0f} ms",
        )
        odd = collections.Counter(
            (s.kind, s.status, s.code) for s in seen if not 200 <= s.status < 300 and s.status not in allowed
        )
        report.check(
            "only answers that the contract has for a lost database",
            not odd,
            f"reads {self.words(kind='read')}; writes {self.words(kind='write')}",
        )
        for (kind, status, code), n in odd.most_common(8):
            report.say(f"   odd: {n}× {kind} {status} {code}")
        shapeless = sum(not s.in_shape for s in seen if s.status)
        report.check("every error has the contract's shape", shapeless == 0, f"{shapeless} without")
        self.settle()
        report.check(
            "no acknowledged write is lost",
            not self.lost,
            f"{self.acknowledged()} acknowledged, {len(self.lost)} lost, "
            f"{sum(r.unknown_count for r in self.rewriters)} without an answer",
        )
        for lost in self.lost[:8]:
            report.say(f"   lost: {lost}")


class Rewriter:
    """One thing with a name, changed by one hand."""

    def __init__(self, load, path, field="name", matched=True):
        self.load, self.path, self.field, self.matched = load, path, field, matched
        self.acked, self.pending, self.turn, self.tag = None, set(), 0, None
        self.acked_count = self.unknown_count = 0

    def read(self):
        """True when it could be read. Judges what it finds."""
        answer = self.load.ask("read", "GET", self.path)
        if not answer.ok:
            return False
        name = (answer.data.get("account") or answer.data)[self.field]
        if self.acked is not None and name != self.acked and name not in self.pending:
            self.load.lost.append(f"{self.path}: {name!r} is there, {self.acked!r} was acknowledged")
        self.acked, self.pending, self.tag = name, set(), answer.headers.get("etag")
        return True

    def step(self):
        if self.load.paused.is_set():
            return
        if (self.acked is None or self.pending) and not self.read():
            return
        self.turn += 1
        name = f"name {self.turn}"
        headers = {"if-match": self.tag} if self.matched and self.tag else None
        self.pending.add(name)
        answer = self.load.ask("write", "PATCH", self.path, {self.field: name}, headers=headers)
        if answer.ok:
            self.acked, self.pending, self.tag = name, set(), answer.headers.get("etag")
            self.acked_count += 1
        elif answer.status == 412:
            # Without a lost answer before it, nobody else could have changed it.
            self.load.lost.append(f"{self.path}: {answer.json}")
        else:
            self.unknown_count += 1


def workspace(lab, server, url, events=5000, accounts=4, automations=2, binary=None):
    """A workspace with history. Its key, its id, the ids of its accounts and automations."""
    key, space = register(server.url)
    lab.codash_once(
        url, "load", "--workspace", space, "--events", events, "--accounts", accounts, "--days", 60, binary=binary
    )
    found = call(server.url, "GET", "/api/accounts", key=key).data["accounts"]
    made = []
    for n in range(automations):
        body = {
            "name": f"automation {n}",
            "when": {"interval": {"everySeconds": 86400}},
            "what": {"question": {"name": "list_accounts"}},
        }
        answer = call(server.url, "POST", "/api/automations", body, key)
        made += [answer.data["id"]] if answer.ok else []
    return key, space, [a["id"] for a in found], made
