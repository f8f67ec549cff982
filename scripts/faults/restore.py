#!/usr/bin/env python3
"""From a base backup and archived WAL everything comes back: every row, and every secret opens.

Starts PostgreSQL with WAL archiving, a paper exchange, `codash serve`, a collector and an automation worker
with a webhook, writes with a ledger, takes a base backup in the middle, writes on, and then the machine is
lost: PostgreSQL is killed and its folder removed. Restores from the backup and the archive alone, starts
everything again and checks: every table has the rows that it had at the last archived moment, what was lost is
younger than --rpo seconds, the service answers within --rto seconds, accounts are collected with their sealed
credentials, the webhook's secret signs, the same key opens, and a server with another master key opens nothing.

    python3 scripts/faults/restore.py --codash target/release/codash [--rpo 300] [--rto 900]

The archive here is another folder; with archive_timeout it is complete up to that many seconds ago.
"""

import shutil
import time

import load
from lab import Cluster, Lab, Report, arguments, call, wait_for

COUNTS = """SELECT c.relname, (xpath('/row/n/text()', query_to_xml(
                format('SELECT count(*) AS n FROM %I', c.relname), false, true, '')))[1]::text
            FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            ORDER BY 1"""


def main():
    args = arguments(
        __doc__,
        rpo=(300.0, "seconds that may be lost"),
        rto=(900.0, "seconds until it answers"),
        archive=(5, "archive_timeout, seconds"),
        seconds=(20.0, "of writing before and after the backup"),
    )
    report = Report("restore drill")
    with Lab(args, "restore") as lab:
        archive = lab.place / "archive"
        archive.mkdir()
        archive.chmod(0o777)
        database = lab.database(
            wal_level="replica",
            archive_mode="on",
            archive_timeout=f"{args.archive}s",
            max_wal_senders=4,
            archive_command=f"test ! -f {archive}/%f && cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f",
        )
        paper = lab.paper("--accounts", 3, "--symbols", 8, "--days", 10)
        told = {
            "CODASH_VENUE_PAPER_SPOT_URL": paper.url,
            "CODASH_VENUE_PAPER_USDM_URL": paper.url,
            "CODASH_WEBHOOKS_LOCAL": "true",
            "CODASH_DATABASE_POOL": "8",
        }
        server = lab.serve(database.url(), **told)
        key, space, accounts, automations = load.workspace(lab, server, database.url())
        for one in call(paper.url, "GET", "/paper").json["accounts"]:
            body = {"name": one["name"], "venue": "paper", "apiKey": one["readKey"], "apiSecret": one["readSecret"]}
            answer = call(server.url, "POST", "/api/accounts", body, key)
            assert answer.ok, answer.body
        hook = call(server.url, "POST", "/api/automations/webhooks", {"url": paper.url + "/nowhere"}, key).data["id"]
        call(
            server.url,
            "POST",
            "/api/settings/ai-keys",
            {"provider": "anthropic", "key": "sk-made-up-for-this-drill"},
            key,
        )
        workers = [lab.work(database.url(), kind, kind, **told) for kind in ("collect", "automate")]
        work = load.Load(server.url, key, 30).start(accounts, automations)
        time.sleep(args.seconds)
        backup = lab.place / "restored"
        restored = Cluster(lab, "restored")
        restored.run("pg_basebackup", "-d", database.url("postgres"), "-D", restored.data, "-X", "none", "-c", "fast")
        report.say(f"base backup of {sum(f.stat().st_size for f in backup.rglob('*') if f.is_file()) >> 20} MiB")
        time.sleep(args.seconds)
        work.stop()
        for one in workers:
            one.end()
        time.sleep(1)
        # What is in the archive at this moment is all that is left; this is what it should hold.
        database.sql("SELECT pg_switch_wal()", "postgres")
        waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        wait_for("the archive is complete", lambda: database.one(waiting, "postgres") == "0", 60, 0.2)
        counts = database.sql(COUNTS)
        # The server writes its audit until it ends: what comes from here on is what a disaster takes.
        late = load.Load(server.url, key, 20, clock=work.clock).start(registering=True)
        last = time.monotonic()
        time.sleep(3)
        lost_at = time.monotonic()
        database.stop("immediate")
        shutil.rmtree(database.place)
        late.stop()
        server.end()

        began = time.monotonic()
        (restored.data / "recovery.signal").touch()
        if lab.pg_user:
            shutil.chown(restored.data / "recovery.signal", lab.pg_user)
        restored.configure(restore_command=f"cp {archive}/%f %p", archive_mode="off", recovery_target_timeline="latest")
        restored.start()
        wait_for("recovery ends", lambda: restored.one("SELECT pg_is_in_recovery()", "postgres") == "f", 120, 0.2)
        server = lab.serve(restored.url(), "serve-again", **told)
        took = time.monotonic() - began
        report.check(f"it answers within {args.rto:.0f} s", took <= args.rto, f"{took:.1f} s")
        found = restored.sql(COUNTS)
        fewer = [
            (name, int(n), int(dict(found).get(name, -1)))
            for name, n in counts
            if int(dict(found).get(name, -1)) < int(n) and name not in ("venue_meters", "venue_silences")
        ]
        report.check(
            "every table has its rows",
            not fewer and len(counts) > 20,
            fewer or f"{len(counts)} tables, {sum(int(n) for _, n in counts)} rows",
        )
        work.url = server.url
        work.settle()
        report.check(
            "no write that was acknowledged before the archive's end is lost",
            not work.lost,
            f"{work.acknowledged()} acknowledged, {len(work.lost)} lost",
        )
        gone = sum(not call(server.url, "GET", "/api/accounts", key=one).ok for one in late.keys)
        report.check(
            f"what is lost is younger than {args.rpo:.0f} s",
            lost_at - last + args.archive <= args.rpo,
            f"{gone} of {len(late.keys)} registrations of the last {lost_at - last:.0f} s; "
            f"at most archive_timeout ({args.archive} s) can be",
        )
        report.check("the same key opens", call(server.url, "GET", "/api/accounts", key=key).ok)
        before = time.time()
        restored.sql(
            "UPDATE leases SET expires_at = '-infinity', due_at = now(); UPDATE webhook_deliveries SET lease_expires_at = '-infinity'"
        )
        workers = [lab.work(restored.url(), kind, f"{kind}-again", **told) for kind in ("collect", "automate")]

        def collected():
            shown = call(server.url, "GET", "/api/accounts", key=key).data["accounts"]
            shown = [a for a in shown if a["venue"] == "paper"]
            fresh = [
                a
                for a in shown
                if a["status"] == "connected"
                and (a["lastCheckedAt"] or "") > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before))
            ]
            return len(shown) > 1 and len(fresh) == len(shown) and len(shown)

        report.check(
            "every account is collected with its sealed credential",
            bool(wait_for("collected", collected, 90, 1)),
            f"{collected()} accounts",
        )
        made = call(
            server.url,
            "POST",
            "/api/automations",
            {
                "name": "after",
                "when": {"trigger": {}},
                "what": {"question": {"name": "list_accounts"}},
                "webhooks": [hook],
            },
            key,
        )
        call(server.url, "POST", f"/api/automations/{made.data['id']}/run", key=key)

        def tried():
            found = call(server.url, "GET", f"/api/automations/webhooks/{hook}/deliveries", key=key).data["deliveries"]
            log = (
                call(server.url, "GET", f"/api/automations/deliveries/{found[0]['id']}", key=key).data["log"]
                if found
                else []
            )
            return log and log[0]["statusCode"]

        report.check("the webhook's sealed secret signs", bool(wait_for("the message was sent", tried, 30, 0.5)))
        secrets = restored.one(
            "SELECT (SELECT count(*) FROM account_secrets) + (SELECT count(*) FROM ai_keys) + (SELECT count(*) FROM webhook_endpoints)"
        )
        wrong = lab.start(
            "collect-wrong",
            [lab.codash, "collect"],
            lab.env(restored.url(), **{**told, "CODASH_MASTER_KEYS": "k1:" + "A" * 43 + "="}),
        )
        restored.sql("UPDATE leases SET expires_at = '-infinity', due_at = now()")
        for one in workers:
            one.end()
        restored.sql("UPDATE leases SET expires_at = '-infinity', due_at = now()")
        wait_for("the wrong key is told", lambda: "cannot be opened" in wrong.tail(200) or not wrong.alive(), 30, 0.5)
        report.check(
            "another master key opens nothing, and says so", "cannot be opened" in wrong.tail(200), f"{secrets} secrets"
        )
    report.done()


if __name__ == "__main__":
    main()
