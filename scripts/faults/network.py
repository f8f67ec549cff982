#!/usr/bin/env python3
"""A bad network between the server and its database: nobody waits past the deadline, and all is well soon after.

Starts PostgreSQL and `codash serve` with a TCP proxy between them that makes, one after the other: 200 ms ± 50
a round trip; the same with 5 % of pieces later by 250 ms, as when packets are lost; a partition of 30 s in
which packets vanish; and connections cut at random. Under reads and writes with a ledger. Checks: no answer
slower than the deadline, 0 acknowledged writes lost, the first success of reads and of writes within 5 s after
the partition, no transaction left open, no id twice.

    python3 scripts/faults/network.py --codash target/release/codash [--partition 30]
"""

import random
import threading
import time

import load
from lab import Lab, Report, arguments, call, register
from proxy import Proxy


class Keyed:
    """Runs asked for under ids of our own, each tried until it is answered: every id must be one run."""

    def __init__(self, url):
        self.url, self.stopping, self.asked, self.tries = url, threading.Event(), {}, 0
        self.key, _ = register(url)
        made = call(
            url,
            "POST",
            "/api/automations",
            {
                "name": "keyed",
                "when": {"trigger": {}},
                "overlap": "queue",
                "what": {"question": {"name": "list_accounts"}},
            },
            self.key,
        )
        self.automation = made.data["id"]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        n = 0
        while not self.stopping.is_set():
            n += 1
            while not self.stopping.is_set():
                self.tries += 1
                answer = call(
                    self.url,
                    "POST",
                    f"/api/automations/{self.automation}/run",
                    key=self.key,
                    headers={"idempotency-key": f"id-{n}"},
                )
                if answer.ok:
                    self.asked[f"id-{n}"] = answer.data["runId"]
                    break
                time.sleep(0.1)
            time.sleep(0.3)

    def runs(self):
        found, cursor = [], ""
        while True:
            page = call(
                self.url, "GET", f"/api/automations/{self.automation}/runs?limit=100{cursor}", key=self.key
            ).data
            found += [run["id"] for run in page["runs"]]
            if not page.get("nextCursor"):
                return found
            cursor = f"&cursor={page['nextCursor']}"


def main():
    args = arguments(
        __doc__,
        partition=(30.0, "seconds of darkness"),
        seconds=(20.0, "of every other fault"),
        rate=(30, "reads a second"),
        seed=(1, "of the chances"),
    )
    report, dice = Report("network faults"), random.Random(args.seed)
    with Lab(args, "network") as lab:
        database = lab.database()
        proxy = Proxy(database.port, args.seed)
        lab.ends.append(proxy.close)
        server = lab.serve(database.url(port=proxy.port))
        key, _, accounts, automations = load.workspace(lab, server, database.url())
        work = load.Load(server.url, key, args.rate).start(accounts, automations)
        keyed = Keyed(server.url)
        time.sleep(3)

        def phase(name, seconds):
            since = work.clock()
            time.sleep(seconds)
            report.say(
                f"{name}: reads {work.words(kind='read', since=since)}; writes {work.words(kind='write', since=since)}"
            )

        proxy.delay, proxy.jitter = 0.1, 0.025
        phase("200 ms ± 50 a round trip", args.seconds)
        proxy.loss = 0.05
        phase("and 5 % lost", args.seconds)
        proxy.delay = proxy.jitter = proxy.loss = 0.0
        time.sleep(3)
        proxy.dark = True
        work.clock()
        phase(f"nothing passes for {args.partition:.0f} s", args.partition)
        live = call(server.url, "GET", "/health/live")
        ready = call(server.url, "GET", "/health/ready")
        report.check(
            "in the dark it is alive, not ready, and says so within 3 s",
            live.status == 200 and ready.status == 503 and ready.seconds < 3,
            f"{live.status}, {ready.status} after {ready.seconds:.1f} s",
        )
        proxy.dark = False
        light = work.clock()
        time.sleep(12)
        back = work.first_success(light)
        report.check(
            "reads and writes succeed within 5 s after the partition",
            max(back) <= 5,
            f"{back[0]:.2f} s, {back[1]:.2f} s",
        )
        late = [s for s in work.seen if s.start > light + 5 and not 200 <= s.status < 300]
        report.check("5 s after the partition nothing fails any more", not late, f"{len(late)} failed")
        since, end = work.clock(), time.monotonic() + args.seconds
        while time.monotonic() < end:
            proxy.cut_all()
            time.sleep(dice.uniform(0.2, 2.0))
        report.say(
            f"connections cut: reads {work.words(kind='read', since=since)}; writes {work.words(kind='write', since=since)}"
        )
        time.sleep(3)
        keyed.stopping.set()
        work.stop()
        keyed.thread.join(15)
        work.check(report)
        runs = keyed.runs()
        missing = set(keyed.asked.values()) - set(runs)
        report.check(
            "a request that is repeated under its id is done once",
            not missing
            and len(set(keyed.asked.values())) == len(keyed.asked)
            and len(runs) == len(set(runs)) <= len(keyed.asked) + 1,
            f"{len(keyed.asked)} ids in {keyed.tries} tries, {len(runs)} runs",
        )
        report.check("no connection is left in a transaction", not (left := database.left_open(15)), left)
        report.check("the server lived", server.alive())
    report.done()


if __name__ == "__main__":
    main()
