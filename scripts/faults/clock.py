#!/usr/bin/env python3
"""Processes whose clocks are ten minutes off do what is due when it is due, and say nothing that is not so.

Needs libfaketime. Starts PostgreSQL, a paper exchange and `codash serve` with true clocks, then `codash
automate` and `codash collect` --minutes ahead, then as much behind. Checks, for each: runs of an interval start
within 2 s of their time by the database's clock (a worker looks once a second); receivers with true clocks
accept the signatures' timestamps; the venue accepts the collector's requests (its clock's offset is measured),
accounts are read to their end and equal the exchange's /truth; no answer claims to have read beyond the
present.

    python3 scripts/faults/clock.py --codash target/release/codash [--minutes 10]
"""

import glob
import json
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

from lab import Lab, Report, arguments, call, register

SUMS = ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"]


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Receiver(BaseHTTPRequestHandler):
    stamps = []

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.stamps.append(time.time() - int(self.headers["webhook-timestamp"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def exactly(answer):
    return json.loads(answer.body, parse_float=Decimal, parse_int=Decimal)


def trial(lab, report, database, paper, server, offset, told, hook_url, days):
    key, _ = register(server.url)
    name = f"{offset:+d} minutes"

    def ask(method, path, body=None):
        answer = call(server.url, method, path, body, key)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body!r}")
        return answer.data

    hook = ask("POST", "/api/automations/webhooks", {"url": hook_url})["id"]
    made = ask(
        "POST",
        "/api/automations",
        {
            "name": name,
            "when": {"interval": {"everySeconds": 60}},
            "what": {"question": {"name": "list_accounts"}},
            "webhooks": [hook],
        },
    )
    accounts = {}
    for one in call(paper.url, "GET", "/paper").json["accounts"]:
        body = {"name": one["name"], "venue": "paper", "apiKey": one["readKey"], "apiSecret": one["readSecret"]}
        accounts[one["name"]] = ask("POST", "/api/accounts", body)["id"]
    Receiver.stamps.clear()
    skewed = []
    for kind in ("automate", "collect"):
        env = lab.env(database.url(), **told)
        # The database's driver and timers go by the monotonic clock, which stays true. The command `faketime` would
        # stand between us and the process.
        env |= {
            "LD_PRELOAD": lab.faketime,
            "FAKETIME": f"{offset * 60:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "CODASH_LOG": "info",
        }
        process = lab.start(f"{kind}{offset:+d}", [lab.codash, kind], env)
        skewed.append(process)
    time.sleep(135)
    runs = ask("GET", f"/api/automations/{made['id']}/runs?limit=100")["runs"]
    late = [at(run["createdAt"]) - at(run["scheduledFor"]) for run in runs]
    due = sorted(at(run["scheduledFor"]) - at(made["createdAt"]) for run in runs)
    report.check(
        f"{name}: runs start within 2 s of their time",
        len(runs) >= 2 and max(late) <= 2.0 and min(late) >= 0,
        f"{len(runs)} runs, {[round(x, 2) for x in sorted(late)]} s late",
    )
    report.check(
        f"{name}: each time comes once",
        all(abs(gap - 60) < 0.001 for gap in (b - a for a, b in zip(due, due[1:]))),
        [round(d, 3) for d in due],
    )
    report.check(
        f"{name}: signatures carry the true time",
        bool(Receiver.stamps) and max(map(abs, Receiver.stamps)) <= 5,
        [round(s, 1) for s in Receiver.stamps],
    )
    offs = [at(process.tail(1).split()[0]) - Path(process.log).stat().st_mtime for process in skewed if process.tail(1)]
    faked = [lab.faketime in Path(f"/proc/{process.pid}/maps").read_text() for process in skewed]
    report.check(
        f"{name}: the clocks are off indeed",
        bool(offs) and all(faked) and all(abs(off - offset * 60) < 5 for off in offs),
        f"by the logs {[round(off) for off in offs]} s; {sum(faked)} of {len(faked)} processes run with libfaketime",
    )
    claims, statuses, checked = [], [], []
    day_ago = datetime.now(timezone.utc) - timedelta(days=days + 2)
    now = time.time()
    to = datetime.fromtimestamp(int(now // 60) * 60 - 60, timezone.utc)
    shown = to.strftime("%Y-%m-%dT%H:%M:%SZ")
    wrong, compared = [], 0
    for one in ask("GET", "/api/accounts")["accounts"]:
        checked.append(at(one["lastCheckedAt"]) - time.time())
        statuses.append(
            f"{one['status']}"
            if one["status"] == "connected"
            else f"{one['name']} {one['status']}: {one.get('statusDetail')}"
        )
    for label, account in accounts.items():
        query = f"accountId={account}&from={quote(day_ago.strftime('%Y-%m-%dT%H:%M:%SZ'))}&to={quote(shown)}"
        ours = exactly(call(server.url, "GET", f"/api/trade-events/activity-summary?{query}", key=key))["data"]
        truth = exactly(call(paper.url, "GET", f"/truth?account={label}&at={int(to.timestamp() * 1000)}"))
        for claim in ours["provenance"]["coverage"]["accounts"]:
            claims.append(at(claim["readUntil"]) - time.time() if claim.get("readUntil") else float("-inf"))
        if not ours["provenance"]["coverage"]["complete"]:
            wrong.append(f"{label} is not read to its end")
            continue
        for field in SUMS:
            compared += 1
            if ours["totals"][field] != truth["totals"][field]:
                wrong.append(f"{label} {field}: ours {ours['totals'][field]}, the truth {truth['totals'][field]}")
    report.check(f"{name}: the accounts are connected", set(statuses) == {"connected"}, sorted(set(statuses)))
    report.check(
        f"{name}: what was read equals the truth", not wrong and compared > 0, wrong[:3] or f"{compared} figures"
    )
    report.check(
        f"{name}: nothing claims to have read beyond the present",
        bool(claims) and max(claims) <= 1.0,
        f"latest {max(claims):+.0f} s",
    )
    report.say(f"{name}: lastCheckedAt is told by the collector's clock: {[round(one) for one in checked]} s from now")
    future = database.one("SELECT count(*) FROM nav_snapshots WHERE taken_at > clock_timestamp() + interval '1 second'")
    report.check(f"{name}: no snapshot is of the future", future == "0", future)
    for process in skewed:
        report.check(f"{name}: {process.name} lives", process.alive(), process.tail(2) if not process.alive() else "")
        process.end()
    for account in accounts.values():
        call(server.url, "DELETE", f"/api/accounts/{account}", key=key)
    call(server.url, "DELETE", f"/api/automations/{made['id']}", key=key)


def main():
    args = arguments(__doc__, minutes=(10, "that clocks are off"), days=(5, "of history"))
    places = ["/usr/lib/faketime", "/usr/lib/*/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime"]
    found = [path for place in places for path in glob.glob(place + "/libfaketimeMT.so.1")]
    if not found:
        sys.exit("libfaketimeMT.so.1 was not found: install the package faketime (libfaketime)")
    report = Report("skewed clocks")
    with Lab(args, "clock") as lab:
        lab.faketime = found[0]
        database = lab.database()
        paper = lab.paper("--accounts", 2, "--symbols", 6, "--days", args.days)
        told = {
            "CODASH_VENUE_PAPER_SPOT_URL": paper.url,
            "CODASH_VENUE_PAPER_USDM_URL": paper.url,
            "CODASH_WEBHOOKS_LOCAL": "true",
            "CODASH_DATABASE_POOL": "4",
        }
        server = lab.serve(database.url(), **told)
        receiver = HTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        for offset in (args.minutes, -args.minutes):
            trial(
                lab,
                report,
                database,
                paper,
                server,
                offset,
                told,
                f"http://127.0.0.1:{receiver.server_port}/",
                args.days,
            )
    report.done()


if __name__ == "__main__":
    main()
