#!/usr/bin/env python3
"""A new version's migrations run beside the old version's servers, and nobody notices.

Starts PostgreSQL with the OLD binary's schema and its `serve` under load with a ledger, then runs the NEW
binary's `migrate` and `serve` beside it, and ends with NEW alone. The second time a report holds tables that are
to be changed, for --hold seconds, while the migrations run: whoever waits for its locks must not make everybody
else wait. Checks: the migrations come through, no 5xx, nobody waits longer than WAIT ms for a lock, no
acknowledged write is lost, and both versions give the same sums.

    python3 scripts/faults/two-versions.py --old OLD --codash NEW [--rate 50]

Without --old both are the same binary: nothing migrates then, and only the way is tried.
"""

import shutil
import subprocess
import threading
import time

import load
from lab import Cluster, Lab, Report, arguments, percentile

LOOK = """SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart) * 1000), 0)::int
          FROM pg_locks WHERE NOT granted AND locktype IN ('relation', 'tuple', 'transactionid')"""


class Waits:
    """Looks every 10 ms who waits for a lock, and for how long."""

    def __init__(self, lab, database):
        argv = [lab.pg + "/psql", "-X", "-q", "-A", "-t", "-d", database.url()]
        self.popen = subprocess.Popen(
            argv,
            user=lab.pg_user,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            env=lab.env_pg(),
        )
        self.popen.stdin.write(LOOK + " \\watch 0.01\n")
        self.popen.stdin.flush()
        self.found = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for line in self.popen.stdout:
            if line.strip().isdigit():
                self.found.append(int(line))

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        self.thread.join()
        return max(self.found, default=-1)


def versions(database):
    rows = database.sql("SELECT count(*), max(version) FROM _sqlx_migrations")
    return f"{rows[0][0]} migrations, the last {rows[0][1]}"


def trial(lab, report, args, old, hold):
    what = f"held for {hold:.0f} s" if hold else "undisturbed"
    database = Cluster(lab, f"primary-{hold:.0f}").init().start()
    database.sql("CREATE DATABASE codash", "postgres")
    lab.codash_once(database.url(), "migrate", binary=old)
    before = versions(database)
    server = lab.serve(database.url(), f"old-{hold:.0f}", old)
    key, _, accounts, automations = load.workspace(lab, server, database.url(), events=20000, binary=old)
    work = load.Load(server.url, key, args.rate).start(accounts, automations)
    time.sleep(4)
    waits, began = Waits(lab, database), work.clock()
    holder = None
    if hold:
        text = f"BEGIN; SELECT count(*) FROM api_keys; SELECT count(*) FROM events; SELECT pg_sleep({hold}); COMMIT"
        holder = threading.Thread(target=database.sql, args=(text,), daemon=True)
        holder.start()
        time.sleep(0.3)
    started = time.monotonic()
    try:
        lab.codash_once(database.url(), "migrate")
        migrated = ""
    except RuntimeError as fault:
        migrated = str(fault)
    took = time.monotonic() - started
    if holder:
        holder.join()
    longest = waits.stop()
    report.check(f"{what}: the migrations come through", not migrated, migrated[:300])
    if migrated:
        lab.codash_once(database.url(), "migrate")
    time.sleep(2)
    fresh = lab.serve(database.url(), f"new-{hold:.0f}")
    beside = load.Load(fresh.url, key, args.rate, clock=work.clock).start(registering=True)
    time.sleep(args.seconds)
    report.say(f"{what}: {before} before, {versions(database)} after {took:.1f} s; {len(waits.found)} looks at locks")
    report.check(f"{what}: nobody waits long for a lock", 0 <= longest <= args.wait, f"longest {longest} ms")
    day = [time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - days * 86400)) for days in (30, 1)]
    window = f"/api/forensics/pnl-by-symbol?from={day[0]}&to={day[1]}"
    both = [one.ask("read", "GET", window) for one in (work, beside)]
    work.stop()
    beside.stop()
    for name, one in (("old", work), ("new", beside)):
        bad = [s for s in one.seen if s.status >= 500 or s.status == 0]
        report.check(f"{what}: the {name} server answers no 5xx", not bad, f"{len(one.seen)} answers, {one.words()}")
    waited = [s.end - s.start for s in work.seen if s.start >= began]
    report.say(
        f"slowest answer of the old server during and after {max(waited) * 1000:.0f} ms, p99 {percentile(waited, 0.99) * 1000:.0f} ms"
    )
    fields = ["symbol", "realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"]
    sums = [sorted([row[f] for f in fields] for row in one.data["rows"]) for one in both]
    report.check(
        f"{what}: both versions give the same sums", sums[0] == sums[1] and len(sums[0]) > 0, f"{len(sums[0])} symbols"
    )
    if sums[0] != sums[1]:
        report.say(f"   {[pair for pair in zip(*sums) if pair[0] != pair[1]][:2]}")
    server.end()
    work.url = fresh.url
    work.settle()
    beside.settle()
    report.check(
        f"{what}: the new version has everything that the old one acknowledged",
        not work.lost + beside.lost,
        f"{work.acknowledged() + beside.acknowledged()} acknowledged, {len(work.lost + beside.lost)} lost",
    )
    fresh.end()
    database.stop("immediate")


def main():
    args = arguments(
        __doc__,
        old=("", "the binary of the version before"),
        rate=(50, "reads a second, of each server"),
        wait=(500, "ms for a lock"),
        seconds=(10.0, "of both side by side"),
        hold=(6.0, "seconds that a report holds the tables"),
    )
    report = Report("two versions")
    with Lab(args, "versions") as lab:
        old = (shutil.which(args.old) or args.old) if args.old else lab.codash
        if old == lab.codash:
            report.say("one binary: nothing migrates, only the way is tried")
        trial(lab, report, args, old, 0.0)
        trial(lab, report, args, old, args.hold)
    report.done()


if __name__ == "__main__":
    main()
