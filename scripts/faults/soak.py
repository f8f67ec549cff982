#!/usr/bin/env python3
"""Hours under steady load change nothing: memory, open files and latency stay where they were.

Starts PostgreSQL, a paper exchange, `codash serve`, two collectors and two automation workers, attaches the
paper accounts, and asks at a steady rate. Every five seconds it notes each process's memory and open files.
Checks, after a warm-up of a fifth of the time: memory grows by no more than 1 MiB an hour (SLOPE; least squares
over its medians a minute) and half a MiB of noise over the whole time, open files stay flat, the last third's
p99 is within 10 % of the first third's, no 5xx, and nothing acknowledged is lost.

    python3 scripts/faults/soak.py --codash target/release/codash --minutes 480 --rps 50

A short run says whether something leaks fast, and no more.
"""

import time

import load
from lab import Lab, Report, arguments, call, percentile


def slope(points):
    """Of least squares: y for each x."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mx) ** 2 for x, _ in points)
    return sum((x - mx) * (y - my) for x, y in points) / spread if spread else 0.0


def medians(points, width=60):
    """One point for each minute."""
    minutes = {}
    for x, y in points:
        minutes.setdefault(int(x // width), []).append(y)
    return [(minute * width, percentile(ys, 0.5)) for minute, ys in sorted(minutes.items())]


def main():
    args = arguments(
        __doc__,
        minutes=(10.0, "of load"),
        rps=(50, "reads a second"),
        accounts=(4, "paper accounts"),
        slope=(1.0, "MiB an hour"),
    )
    report = Report(f"soak of {args.minutes:g} minutes at {args.rps} a second")
    with Lab(args, "soak") as lab:
        database = lab.database()
        paper = lab.paper("--accounts", args.accounts, "--symbols", 10, "--days", 30)
        told = {
            "CODASH_VENUE_PAPER_SPOT_URL": paper.url,
            "CODASH_VENUE_PAPER_USDM_URL": paper.url,
            "CODASH_WEBHOOKS_LOCAL": "true",
        }
        server = lab.serve(database.url(), **told)
        small = {**told, "CODASH_DATABASE_POOL": "4"}
        workers = [
            lab.work(database.url(), kind, f"{kind}-{n}", **small) for kind in ("collect", "automate") for n in (1, 2)
        ]
        key, _, accounts, automations = load.workspace(lab, server, database.url(), events=20000)
        for one in call(paper.url, "GET", "/paper").json["accounts"]:
            body = {"name": one["name"], "venue": "paper", "apiKey": one["readKey"], "apiSecret": one["readSecret"]}
            answer = call(server.url, "POST", "/api/accounts", body, key)
            assert answer.ok, answer.body
        for n in range(10):
            body = {
                "name": f"every minute {n}",
                "when": {"interval": {"everySeconds": 60}},
                "what": {"question": {"name": "get_portfolio_summary"}},
            }
            call(server.url, "POST", "/api/automations", body, key)
        watched = [server, *workers]
        work = load.Load(server.url, key, args.rps, readers=8).start(accounts[:1], automations[:1], registering=False)
        began, noted = time.monotonic(), {one.name: [] for one in watched}
        while (now := time.monotonic() - began) < args.minutes * 60:
            for one in watched:
                noted[one.name].append((now, *one.memory()))
            time.sleep(5)
        work.stop()
        warm = args.minutes * 60 / 5
        for name, points in noted.items():
            later = [(x, rss) for x, rss, _ in points if x >= warm]
            growth = slope(medians(later)) * 3600 / 1024
            files = [n for x, _, n in points if x >= warm]
            noise = 0.5 / (args.minutes * 0.8 / 60)
            report.check(
                f"{name}: memory grows by at most {args.slope:g} MiB an hour",
                growth <= args.slope + noise,
                f"{growth:+.1f} MiB/h, {later[0][1] / 1024:.0f} to {later[-1][1] / 1024:.0f} MiB, at most {max(y for _, y in later) / 1024:.0f}",
            )
            report.check(
                f"{name}: open files stay flat",
                percentile(files[-12:], 0.5) <= percentile(files[:12], 0.5) + 2 and min(files) > 0,
                f"{percentile(files[:12], 0.5)} to {percentile(files[-12:], 0.5)}, at most {max(files)}",
            )
        third = args.minutes * 60 / 3
        reads = [s for s in work.seen if s.kind == "read"]
        offset = min(s.start for s in reads)
        first, last = (
            [s.end - s.start for s in reads if low <= s.start - offset < low + third] for low in (0, 2 * third)
        )
        drift = percentile(last, 0.99) / percentile(first, 0.99) - 1
        report.check(
            "the last third's p99 is within 10 % of the first's",
            drift <= 0.1,
            f"{percentile(first, 0.99) * 1000:.0f} and {percentile(last, 0.99) * 1000:.0f} ms, "
            f"{drift * 100:+.0f} %; medians {percentile(first, 0.5) * 1000:.1f} and {percentile(last, 0.5) * 1000:.1f} ms",
        )
        work.check(report, allowed=set())
        report.check("every process lives", all(one.alive() for one in watched))
    report.done()


if __name__ == "__main__":
    main()
