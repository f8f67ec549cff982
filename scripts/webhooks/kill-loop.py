#!/usr/bin/env python3
"""Automations lose nothing and double nothing while their workers are killed, and webhooks keep to the standard.

Starts PostgreSQL, `codash serve`, WORKERS × `codash automate` and two receivers (Python and JavaScript), which
verify every message with the reference libraries of Standard Webhooks. Makes automations of intervals and
triggers, fires the triggers with ids of its own, some of them twice, and kills -9 a random worker KILLS times
meanwhile. Then checks that every request is exactly one run, that no due time is missing, that every message of
every run arrived, verified, under one id with one content. Afterwards, with workers left alone: redirects are
not followed, 410 disables, Retry-After is honoured, a slow receiver is given 15 s, 20 KiB of an answer are
kept, and both secrets of a rotation verify.

    pip install standardwebhooks; npm install standardwebhooks
    python3 scripts/webhooks/kill-loop.py --codash target/release/codash [--kills 120] [--node-path DIR/node_modules]

Takes some ten minutes: what a dead worker held lapses after two, and a message that met a 500 may come after
five.
"""

import collections
import json
import os
import random
import sys
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "faults"))
from lab import Lab, Report, arguments, call, free_port, register, wait_for  # noqa: E402

LOCAL = {"CODASH_DATABASE_POOL": "8", "CODASH_WEBHOOKS_LOCAL": "true", "CODASH_TRUSTED_PROXIES": "127.0.0.0/8"}
QUESTION = {"question": {"name": "list_accounts"}}


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Receivers:
    def __init__(self, lab, node_path):
        self.lab, self.secrets, self.known = lab, lab.place / "secrets.json", {}
        self.logs, self.urls = {}, {}
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(lab.place),
            "NODE_PATH": node_path or os.environ.get("NODE_PATH", ""),
        }
        for name, argv in (
            ("python", [sys.executable, HERE / "receiver.py"]),
            ("node", ["node", HERE / "receiver.js"]),
        ):
            port, self.logs[name] = free_port(), lab.place / f"received-{name}.jsonl"
            process = lab.start(
                f"receiver-{name}", [*argv, "--port", port, "--log", self.logs[name], "--secrets", self.secrets], env
            )
            self.urls[name] = f"http://127.0.0.1:{port}"
            wait_for(
                f"{name}'s receiver answers: {process.log}",
                lambda: call(self.urls[name], "POST", "/up", {}).status == 204,
            )

    def learn(self, path, secret):
        self.known.setdefault(path, []).append(secret)
        fresh = self.secrets.with_suffix(".new")
        fresh.write_text(json.dumps(self.known))
        fresh.replace(self.secrets)

    def received(self, name, path=None):
        lines = [json.loads(line) for line in self.logs[name].read_text().splitlines()]
        return [line for line in lines if line["path"] != "/up" and (path is None or line["path"] == path)]


class Tenant:
    """A workspace with two webhooks, one at each receiver."""

    def __init__(self, server, receivers, how):
        self.server, self.receivers = server, receivers
        self.key, self.id = register(server.url)
        self.hooks = {}
        for name, url in receivers.urls.items():
            hook = self.hook(name, how)
            self.hooks[hook["id"]] = (name, hook["path"])

    def ask(self, method, path, body=None):
        answer = call(self.server.url, method, path, body, self.key)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body!r}")
        return answer.data

    def hook(self, receiver, how):
        path = f"/{uuid.uuid4().hex[:8]}/{how}"
        hook = self.ask("POST", "/api/automations/webhooks", {"url": self.receivers.urls[receiver] + path})
        self.receivers.learn(path, hook["secret"])
        return {**hook, "path": path}

    def automation(self, when, hooks, overlap="queue"):
        return self.ask(
            "POST",
            "/api/automations",
            {"name": "faults", "when": when, "what": QUESTION, "webhooks": hooks, "overlap": overlap},
        )

    def runs(self, automation):
        found, cursor = [], ""
        while True:
            page = self.ask("GET", f"/api/automations/{automation}/runs?limit=100{cursor}")
            found += page["runs"]
            if not page.get("nextCursor"):
                return found
            cursor = f"&cursor={page['nextCursor']}"


class Firing:
    """Fires triggers at a steady rate, and keeps what was acknowledged."""

    def __init__(self, server, triggers, rate, dice):
        self.server, self.triggers, self.rate, self.dice = server, triggers, rate, dice
        self.asked, self.faults, self.twice = {}, [], 0
        self.stopping, self.count = threading.Event(), 0

    def fire(self, automation, path, name):
        # An address of its own for every few requests: the door's limit is for each address.
        self.count += 1
        address = f"10.{self.count >> 13 & 255}.{self.count >> 5 & 255}.7"
        headers = {"webhook-id": name, "x-forwarded-for": address}
        answer = call(self.server.url, "POST", path, {}, headers=headers)
        if not answer.ok:
            self.faults.append(f"{answer.status} {answer.code}")
            return
        run = answer.data["runId"]
        if self.asked.setdefault((automation, name), run) != run:
            self.faults.append(f"{name} is two runs: {run} and {self.asked[(automation, name)]}")

    def run(self):
        recent = collections.deque(maxlen=50)
        while not self.stopping.is_set():
            if recent and self.dice.random() < 0.25:
                self.twice += 1
                self.fire(*self.dice.choice(recent))
            else:
                automation, path = self.dice.choice(self.triggers)
                recent.append((automation, path, uuid.uuid4().hex))
                self.fire(*recent[-1])
            time.sleep(1 / self.rate)


def kill_loop(lab, report, database, server, receivers, args):
    dice = random.Random(args.seed)
    tenants = [Tenant(server, receivers, "flaky") for _ in range(args.workspaces)]
    triggers, owner, intervals = [], {}, []
    for tenant in tenants:
        for _ in range(args.triggers):
            made = tenant.automation({"trigger": {}}, list(tenant.hooks))
            triggers.append((made["id"], made["trigger"]["path"]))
            owner[made["id"]] = tenant
        for _ in range(2):
            made = tenant.automation({"interval": {"everySeconds": 60}}, list(tenant.hooks))
            intervals.append(made)
            owner[made["id"]] = tenant
    workers, started = [], []

    def worker(n):
        started.append(n)
        return lab.work(database.url(), "automate", f"automate-{len(started)}", **LOCAL)

    workers = [worker(n) for n in range(args.workers)]
    firing = Firing(server, triggers, args.rate, dice)
    thread = threading.Thread(target=firing.run, daemon=True)
    thread.start()
    began = time.time()
    for _ in range(args.kills):
        time.sleep(dice.uniform(0.3, 1.4))
        n = dice.randrange(len(workers))
        if not workers[n].alive():
            report.check("a worker lives until it is killed", False, workers[n].tail(3))
        workers[n].kill()
        lab.processes.remove(workers[n])
        workers[n] = worker(n)
    killed = time.time()
    firing.stopping.set()
    thread.join()
    report.say(
        f"{args.kills} kills of {args.workers} workers in {time.time() - began:.0f} s; {len(firing.asked)} ids, {firing.twice} requests repeated one"
    )
    report.check(
        "every request was taken, and the same id is the same run",
        not firing.faults,
        firing.faults[:3] or len(firing.asked),
    )

    pending = "SELECT (SELECT count(*) FROM automation_runs WHERE state IN ('queued', 'running')) + (SELECT count(*) FROM webhook_deliveries WHERE state = 'pending')"
    # Two due times of every interval at least, or nothing is proven about them.
    time.sleep(max(0, began + 150 - time.time()))
    # A due time of an interval may fall between any two looks.
    wait_for("everything comes to rest", lambda: int(database.one(pending)) == 0, 900, 1)
    report.say(f"at rest {time.time() - killed:.0f} s after the last kill")
    judge_runs(report, firing, owner, intervals, began)
    judge_messages(report, receivers, tenants, owner)
    return workers


def judge_runs(report, firing, owner, intervals, began):
    states, details, attempts, missing, doubled, strange = (
        collections.Counter(),
        collections.Counter(),
        collections.Counter(),
        0,
        0,
        0,
    )
    asked = collections.defaultdict(set)
    for (automation, _), run in firing.asked.items():
        asked[automation].add(run)
    for automation, tenant in owner.items():
        runs = tenant.runs(automation)
        ids = collections.Counter(run["id"] for run in runs)
        doubled += sum(n - 1 for n in ids.values())
        if automation in asked:
            missing += len(asked[automation] - set(ids))
        strange += sum(run["cause"] == "trigger" and run["id"] not in asked[automation] for run in runs)
        for run in runs:
            states[run["state"]] += 1
            attempts[run["attempts"]] += 1
            if run["detail"]:
                details[f"{run['state']}: {run['detail']}"] += 1
    report.check(
        "every acknowledged request is in /runs exactly once",
        missing == doubled == 0,
        f"{missing} missing, {doubled} doubled",
    )
    report.check("nothing ran that nobody asked for", strange == 0, strange)
    report.check(
        "every run ended, and none was given up",
        set(states) <= {"succeeded", "skipped"},
        f"{dict(states)}; tries of a run {dict(sorted(attempts.items()))}",
    )
    for detail, n in details.most_common(4):
        report.say(f"   {n}× {detail}")
    gaps, times = 0, 0
    for made in intervals:
        found = sorted(at(run["scheduledFor"]) for run in owner[made["id"]].runs(made["id"]))
        times += len(found)
        first, wanted = at(made["createdAt"]), int((time.time() - at(made["createdAt"]) - 15) // 60)
        due = [first + 60 * n for n in range(1, max(wanted, len(found)) + 1)]
        wrong = len(found) != len(due) or any(abs(a - b) > 0.001 for a, b in zip(found, due))
        gaps += wrong
        if wrong:
            report.say(f"   made {first:.3f}, found {[round(one - first, 3) for one in found]}")
    report.check(
        "no due time of an interval is missing or doubled",
        gaps == 0 and times >= 2 * len(intervals),
        f"{times} times of {len(intervals)} intervals, {gaps} gaps",
    )


def judge_messages(report, receivers, tenants, owner):
    expected = {}
    undelivered = collections.Counter()
    for automation, tenant in owner.items():
        for run in tenant.runs(automation):
            if run["state"] == "skipped":
                continue
            if len(run["deliveries"]) != len(tenant.hooks):
                undelivered["a run without its messages"] += 1
            for delivery in run["deliveries"]:
                expected[delivery["id"]] = tenant.hooks[delivery["webhookId"]]
                if delivery["state"] != "delivered":
                    undelivered[f"{delivery['state']} {delivery['detail']}"] += 1
    report.check("every message of every run is marked delivered", not undelivered, dict(undelivered) or len(expected))
    paths = {path for tenant in tenants for _, path in tenant.hooks.values()}
    for name in receivers.urls:
        lines = [line for line in receivers.received(name) if line["path"] in paths]
        wrong = [line for line in lines if line["verdicts"] != ["verified"]]
        report.check(
            f"{name}'s library verified every message",
            bool(lines) and not wrong,
            f"{len(lines) - len(wrong)} of {len(lines)} {wrong[:1] or ''}",
        )
        contents, tries = collections.defaultdict(set), collections.Counter()
        for line in lines:
            contents[line["id"]].add((line["sha256"], line["path"]))
            tries[line["id"]] += 1
        mine = {message for message, (receiver, _) in expected.items() if receiver == name}
        taken = {line["id"] for line in lines if line["status"] == 204}
        report.check(
            f"every message arrived at {name}, and no other did",
            mine == taken and set(contents) == mine,
            f"{len(mine)} messages, {len(mine - taken)} lost, {len(set(contents) - mine)} unknown",
        )
        split = sum(len(content) > 1 for content in contents.values())
        spread = collections.Counter(tries.values())
        report.check(
            "one id, one content, one place", split == 0, f"times that one came {dict(sorted(spread.items()))}"
        )


def manners(report, server, receivers):
    tenant = Tenant(server, receivers, "ok")
    hooks = {how: tenant.hook("python", how) for how in ("redirect", "gone", "busy", "slow", "big", "ok")}
    fired = {how: tenant.automation({"trigger": {}}, [hook["id"]]) for how, hook in hooks.items()}

    def fire(how):
        answer = call(server.url, "POST", fired[how]["trigger"]["path"], {}, headers={"webhook-id": uuid.uuid4().hex})
        assert answer.ok, answer.body

    def log(how):
        found = tenant.ask("GET", f"/api/automations/webhooks/{hooks[how]['id']}/deliveries")["deliveries"]
        if not found or not found[0]["attempts"]:
            return None
        return tenant.ask("GET", f"/api/automations/deliveries/{found[0]['id']}")

    def hook_now(how):
        return next(
            h for h in tenant.ask("GET", "/api/automations/webhooks")["webhooks"] if h["id"] == hooks[how]["id"]
        )

    for how in hooks:
        fire(how)
    found = {how: wait_for(f"{how} was tried", lambda: log(how), 60, 0.3) for how in hooks}
    first = {how: one["log"][0] for how, one in found.items()}
    landed = receivers.received("python", "/landing")
    report.check(
        "a redirect is a failure and is not followed",
        first["redirect"]["statusCode"] == 302 and not landed,
        f"{len(landed)} landed",
    )
    gone = hook_now("gone")
    listed = next(a for a in tenant.ask("GET", "/api/automations")["automations"] if a["id"] == fired["gone"]["id"])[
        "notices"
    ]
    report.check(
        "410 disables the webhook, and its automation says so",
        gone["disabled"] and bool(listed),
        gone["disabledReason"],
    )
    fire("gone")
    time.sleep(8)
    report.check("a disabled webhook is sent nothing", len(receivers.received("python", hooks["gone"]["path"])) == 1)
    slow = first["slow"]
    report.check(
        "a receiver is given 15 s",
        slow["statusCode"] is None and 14_500 <= slow["durationMs"] <= 16_500,
        f"{slow['durationMs']} ms: {slow['error']}",
    )
    kept = len(first["big"]["responseHead"] or "")
    report.check("20 KiB of an answer are kept", kept == 20 * 1024, f"{kept} bytes of 1000000")
    wait_for("busy is delivered", lambda: len(receivers.received("python", hooks["busy"]["path"])) == 2, 60, 0.5)
    one, two = receivers.received("python", hooks["busy"]["path"])
    report.check(
        "Retry-After is honoured, under the same id with the same bytes",
        two["at"] - one["at"] >= 20 and one["id"] == two["id"] and one["sha256"] == two["sha256"],
        f"{two['at'] - one['at']:.1f} s of 20",
    )
    fresh = tenant.ask("PATCH", f"/api/automations/webhooks/{hooks['ok']['id']}", {"rotateSecret": True})["secret"]
    receivers.learn(hooks["ok"]["path"], fresh)
    fire("ok")
    wait_for(
        "the message after the rotation", lambda: len(receivers.received("python", hooks["ok"]["path"])) == 2, 30, 0.3
    )
    last = receivers.received("python", hooks["ok"]["path"])[-1]
    report.check("after a rotation both secrets verify", last["verdicts"] == ["verified", "verified"], last["verdicts"])


def main():
    args = arguments(
        __doc__,
        kills=(120, "kills"),
        workers=(5, "workers at once"),
        workspaces=(6, "workspaces"),
        triggers=(20, "triggers of each"),
        rate=(12.0, "requests a second"),
        seed=(1, "of the choices"),
        node_path=("", "where npm put standardwebhooks"),
    )
    report = Report("webhooks and killed workers")
    with Lab(args, "webhooks") as lab:
        database = lab.database()
        server = lab.serve(database.url(), **LOCAL)
        receivers = Receivers(lab, args.node_path)
        workers = kill_loop(lab, report, database, server, receivers, args)
        manners(report, server, receivers)
        dead = [p.name for p in [server, *workers] if not p.alive()]
        report.check("the server and the last workers live", not dead, dead)
    report.done()


if __name__ == "__main__":
    main()
