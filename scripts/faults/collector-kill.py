#!/usr/bin/env python3
"""Collectors that are killed, cut off and stopped for a while lose nothing, double nothing and write nothing
stale.

Starts PostgreSQL, a paper exchange, `codash serve` and two `codash collect`. Kills -9 a random collector KILLS
times at random instants, cuts CUTS connections between a COMMIT and its answer, and stops a collector (SIGSTOP)
PAUSES times until the other has taken its accounts over, then lets it go on. Meanwhile accounts are read again
from the beginning, so that there is always work. At the end every account is compared with the exchange's own
/truth: events by type, sums, every id once.

Who writes is watched by triggers in the database: each collector logs in under a role of its own, and a row
that is written for an account whose lease another process holds is a stale write. A dead or stopped collector's
lease (30 s) is mostly made to lapse at once, as if that time had passed; NATURAL pauses wait for it.

    python3 scripts/faults/collector-kill.py --codash target/release/codash [--kills 200] [--cuts 50] [--pauses 100]
"""

import collections
import json
import random
import signal
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import quote

from lab import Lab, Report, arguments, call, register, wait_for
from proxy import Proxy

SUMS = ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"]
# Tables that only the holder of an account's lease may write.
WATCHED = ["events", "batches", "nav_snapshots", "balances", "positions", "cash_flows", "coverage", "streams"]
WATCH = """
CREATE SCHEMA watch;
CREATE TABLE watch.processes (login text PRIMARY KEY, holder text NOT NULL);
CREATE TABLE watch.stale (at timestamptz DEFAULT clock_timestamp(), login text, place text, account uuid, held_by text);
CREATE SEQUENCE watch.looks;
CREATE FUNCTION watch.look() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE holding text; mine text;
BEGIN
    SELECT p.holder INTO mine FROM watch.processes p WHERE p.login = session_user;
    IF mine IS NOT NULL THEN
        PERFORM nextval('watch.looks');
        SELECT l.holder INTO holding FROM leases l
        WHERE l.workspace_id = NEW.workspace_id AND l.account_id = NEW.account_id;
        IF holding IS DISTINCT FROM mine THEN
            INSERT INTO watch.stale (login, place, account, held_by)
            VALUES (session_user, TG_TABLE_NAME, NEW.account_id, holding);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""


class World:
    def __init__(self, lab, args):
        self.lab, self.dice, self.started = lab, random.Random(args.seed), 0
        self.database = lab.database()
        self.proxy = Proxy(self.database.port, args.seed)
        lab.ends.append(self.proxy.close)
        self.database.sql(WATCH)
        for table in WATCHED:
            self.database.sql(
                f"CREATE TRIGGER watched AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION watch.look()"
            )
        self.paper = lab.paper("--accounts", args.accounts, "--symbols", 10, "--days", args.days, "--seed", args.seed)
        self.venue = {
            "CODASH_VENUE_PAPER_SPOT_URL": self.paper.url,
            "CODASH_VENUE_PAPER_USDM_URL": self.paper.url,
            "CODASH_DATABASE_POOL": "4",
        }
        self.server = lab.serve(self.database.url(), **self.venue)
        self.key, self.space = register(self.server.url)
        self.accounts = {}
        for one in call(self.paper.url, "GET", "/paper").json["accounts"]:
            keys = (
                one["readKey"]
                if isinstance(one.get("readKey"), dict)
                else {"key": one["readKey"], "secret": one["readSecret"]}
            )
            body = {"name": one["name"], "venue": "paper", "apiKey": keys["key"], "apiSecret": keys["secret"]}
            answer = call(self.server.url, "POST", "/api/accounts", body, self.key)
            if not answer.ok:
                raise RuntimeError(f"attach: {answer.status} {answer.body!r}")
            self.accounts[one["name"]] = answer.data["id"]

    def collector(self):
        self.started += 1
        login = f"collector_{self.started}"
        self.database.sql(f"CREATE ROLE {login} LOGIN; GRANT codash_app, codash_read TO {login}")
        url = f"postgres://{login}@127.0.0.1:{self.proxy.port}/codash"
        process = self.lab.work(url, "collect", login, **self.venue)
        self.database.sql(f"INSERT INTO watch.processes VALUES ('{login}', '{process.pid}')")
        return process

    def lapse(self, process):
        """As if the lease of a process that is gone had run out, and everything were due."""
        self.database.sql(
            f"UPDATE leases SET expires_at = '-infinity' WHERE holder = '{process.pid}'; UPDATE leases SET due_at = now()"
        )

    def held_by(self, process):
        return int(
            self.database.one(
                f"SELECT count(*) FROM leases WHERE holder = '{process.pid}' AND expires_at > clock_timestamp()"
            )
        )

    def again(self, account, days=80):
        """The last days of an account, or everything, are read once more."""
        since = (datetime.now(timezone.utc) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        call(self.server.url, "POST", f"/api/accounts/{account}/sync", {"from": since}, self.key)

    def again_somebody(self):
        self.again(self.dice.choice(list(self.accounts.values())))


def kills(world, report, count):
    pair = [world.collector(), world.collector()]
    began, rows = time.monotonic(), []
    for n in range(count):
        time.sleep(world.dice.uniform(0.15, 1.1))
        if n % 5 == 0:
            world.again_somebody()
        turn = world.dice.randrange(2)
        if not pair[turn].alive():
            report.check("a collector lives until it is killed", False, pair[turn].tail(3))
        pair[turn].kill()
        world.lab.processes.remove(pair[turn])
        if n % 4:
            world.lapse(pair[turn])
        pair[turn] = world.collector()
        if n % 25 == 24:
            rows.append(world.database.one("SELECT count(*) FROM events"))
    report.say(f"{count} kills in {time.monotonic() - began:.0f} s; events meanwhile {' '.join(rows)}")
    return pair


def cuts(world, report, pair, count):
    world.proxy.cut_commits = 0.15
    for _ in range(count * 20):
        if world.proxy.cuts >= count:
            break
        world.again_somebody()
        world.database.sql("UPDATE leases SET due_at = now()")
        time.sleep(0.5)
        if world.dice.random() < 0.3:
            world.database.sql(
                "UPDATE leases SET expires_at = least(expires_at, clock_timestamp() + interval '2 seconds')"
            )
    world.proxy.cut_commits = 0.0
    report.check(
        f"{count} answers to COMMIT were cut off and the collectors lived",
        world.proxy.cuts >= count and all(p.alive() for p in pair),
        world.proxy.cuts,
    )


def pauses(world, report, pair, count, natural):
    waited, told = [], 0
    for n in range(count):
        # Few days of a few: more would use up the venue's budget, and everybody would wait for the next minute.
        for account in world.dice.sample(list(world.accounts.values()), 3):
            world.again(account, 2)
        world.database.sql("UPDATE leases SET due_at = now()")
        stopped = pair[n % 2]
        try:
            wait_for("it holds something", lambda: world.held_by(stopped), 45, 0.02)
        except TimeoutError:
            report.check("a collector takes accounts", False, stopped.tail(3))
            continue
        time.sleep(world.dice.uniform(0, 0.2))
        stopped.signal(signal.SIGSTOP)
        held = [
            row[0]
            for row in world.database.sql(
                f"SELECT account_id FROM leases WHERE holder = '{stopped.pid}' AND expires_at > clock_timestamp()"
            )
        ]
        began, is_natural = time.monotonic(), n < natural
        if not is_natural:
            world.lapse(stopped)
        if held:
            taken = f"SELECT count(*) FROM leases WHERE holder = '{stopped.pid}' AND account_id IN ({', '.join(repr(h) for h in held)})"
            # Gone from its hands: taken by the other, or taken and given back.
            wait_for("taken over", lambda: int(world.database.one(taken)) == 0, 90, 0.1)
            if is_natural:
                waited.append(time.monotonic() - began)
        time.sleep(world.dice.uniform(0.1, 0.5))
        stopped.signal(signal.SIGCONT)
        time.sleep(0.3)
    for process in pair:
        told += process.tail(10**6).count("another collector took over")
    if waited:
        report.check(
            "a stopped collector's accounts are taken over when its lease of 30 s ends",
            max(waited) <= 45,
            f"slowest {max(waited):.0f} s of {len(waited)}",
        )
    report.check(f"stopped collectors were told that they were too late ({count} pauses)", told > 0, f"{told} times")


def settle(world, report):
    """Waits until everything up to now was read; the instant until which."""
    to = datetime.now(timezone.utc).replace(second=0, microsecond=0) - timedelta(milliseconds=1)
    shown = to.strftime("%Y-%m-%dT%H:%M:%S.") + f"{to.microsecond // 1000:03}Z"

    def whole():
        world.database.sql("UPDATE leases SET due_at = now() WHERE due_at > now() + interval '5 seconds'")
        for account in world.accounts.values():
            answer = activity(world, account, to - timedelta(days=1), shown)
            coverage = answer["provenance"]["coverage"]
            if not coverage["complete"] or any((c.get("readUntil") or "") < shown for c in coverage["accounts"]):
                return False
        return True

    began = time.monotonic()
    wait_for("every account is read up to now", whole, 300, 1)
    report.say(f"everything read {time.monotonic() - began:.0f} s later")
    return to, shown


def exactly(answer):
    return json.loads(answer.body, parse_float=Decimal, parse_int=Decimal)


def activity(world, account, since, shown):
    query = f"accountId={account}&from={quote(since.strftime('%Y-%m-%dT%H:%M:%SZ'))}&to={quote(shown)}"
    answer = call(world.server.url, "GET", f"/api/trade-events/activity-summary?{query}", key=world.key, timeout=60)
    if not answer.ok:
        raise RuntimeError(f"activity: {answer.status} {answer.body!r}")
    return exactly(answer)["data"]


def compare(world, report, what, days):
    to, shown = settle(world, report)
    since = to - timedelta(days=days + 2)
    compared, wrong, events = 0, [], 0
    for name, account in world.accounts.items():
        millis = int(to.timestamp() * 1000)
        truth = exactly(call(world.paper.url, "GET", f"/truth?account={name}&at={millis}", timeout=60))
        ours = activity(world, account, since, shown)["totals"]
        for field in SUMS:
            compared += 1
            if Decimal(ours[field]) != Decimal(truth["totals"][field]):
                wrong.append(f"{name} {field}: ours {ours[field]}, the truth {truth['totals'][field]}")
        kinds, ids, cursor = collections.Counter(), set(), ""
        while True:
            query = f"accountId={account}&from={quote(since.strftime('%Y-%m-%dT%H:%M:%SZ'))}&to={quote(shown)}&limit=1000{cursor}"
            page = call(world.server.url, "GET", f"/api/trade-events?{query}", key=world.key, timeout=60).data
            for row in page["rows"]:
                kinds[row["eventType"]] += 1
                ids.add(row["id"])
            if not page["nextCursor"]:
                break
            cursor = f"&cursor={quote(page['nextCursor'])}"
        told = {kind: int(n) for kind, n in truth["totals"]["events"].items() if n}
        compared += len(told) + 1
        events += len(ids)
        if dict(kinds) != told:
            wrong.append(f"{name} events: ours {dict(kinds)}, the truth {told}")
        if len(ids) != sum(kinds.values()):
            wrong.append(f"{name}: {sum(kinds.values()) - len(ids)} ids twice")
    report.check(
        f"{what}: nothing lost, nothing doubled, to the digit",
        not wrong and events > 100,
        f"{len(world.accounts)} accounts, {events} events, {compared} figures",
    )
    for line in wrong[:8]:
        report.say(f"   {line}")
    stale = world.database.sql("SELECT login, place, count(*) FROM watch.stale GROUP BY 1, 2")
    looks = world.database.one("SELECT last_value FROM watch.looks")
    report.check(f"{what}: no stale write", not stale, f"{looks} rows looked at, {stale or 0} stale")


def main():
    args = arguments(
        __doc__,
        kills=(200, "kills"),
        cuts=(50, "COMMITs whose answer is cut off"),
        pauses=(100, "stops of a collector"),
        natural=(2, "of them wait for the lease"),
        accounts=(8, "accounts"),
        days=(20, "of history"),
        seed=(1, "of all choices"),
    )
    report = Report("killed, cut and stopped collectors")
    with Lab(args, "collect") as lab:
        world = World(lab, args)
        pair = kills(world, report, args.kills)
        compare(world, report, f"{args.kills} kills", args.days)
        cuts(world, report, pair, args.cuts)
        compare(world, report, f"{world.proxy.cuts} cut COMMITs", args.days)
        pauses(world, report, pair, args.pauses, args.natural)
        compare(world, report, f"{args.pauses} pauses", args.days)
        report.check("the server lived", world.server.alive())
    report.done()


if __name__ == "__main__":
    main()
