#!/usr/bin/env python3
"""A database that crashes again and again loses nothing that was acknowledged, and the server lives on.

Starts PostgreSQL and `codash serve`, reads and writes at a steady rate (registrations, renames of accounts with
If-Match, renames of automations), and stops PostgreSQL with `-m immediate` ROUNDS times. Checks: no
acknowledged write is lost, no answer is slower than the deadline (10.25 s), every error is one that the
contract has for a lost database, the server never exits, and the first success comes within 2 s after the
database accepts.

    python3 scripts/faults/database-crash.py --codash target/release/codash [--rounds 50] [--down 1.0]
"""

import random
import time

import load
from lab import Lab, Report, arguments, percentile


def main():
    args = arguments(
        __doc__,
        rounds=(50, "crashes"),
        rate=(50, "reads a second"),
        down=(1.0, "most seconds between stop and start"),
        seed=(1, "of the pauses"),
    )
    report, dice = Report("database crash"), random.Random(args.seed)
    with Lab(args, "crash") as lab:
        database = lab.database()
        server = lab.serve(database.url())
        key, _, accounts, automations = load.workspace(lab, server, database.url())
        work = load.Load(server.url, key, args.rate).start(accounts, automations)
        time.sleep(3)
        back = {"read": [], "write": []}
        for _ in range(args.rounds):
            database.stop("immediate")
            time.sleep(dice.uniform(0.0, args.down))
            database.start()
            accepted = time.monotonic()
            time.sleep(dice.uniform(2.5, 4.0))
            for kind, seconds in zip(back, work.first_success(accepted)):
                back[kind].append(seconds)
        work.stop()
        report.check(f"the server lived through {args.rounds} crashes", server.alive())
        work.check(report)
        for kind, seconds in back.items():
            report.check(
                f"the first {kind} succeeds within 2 s after the database accepts",
                max(seconds) <= 2.0,
                f"median {percentile(seconds, 0.5):.2f} s, slowest {max(seconds):.2f} s of {len(seconds)}",
            )
        report.check("no connection is left in a transaction", not (left := database.left_open()), left)
    report.done()


if __name__ == "__main__":
    main()
