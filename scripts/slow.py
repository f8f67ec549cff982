#!/usr/bin/env python3
"""Slow, broken, greedy and patient clients against servers of its own. `scripts/README.md` says how to run it."""

import argparse
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from attacks import slow_database, slow_limits, slow_sockets  # noqa: E402
from attacks.server import Cluster  # noqa: E402

# Name: what is done, how much of it, how much in short.
TRIALS = {
    "sockets": (slow_sockets.half_open, 2000, 300),
    "drips": (slow_sockets.drips, 20, 5),
    "aborted": (slow_sockets.aborted, 10_000, 2000),
    "large": (slow_sockets.too_much, 100, 20),
    "stop": (slow_sockets.graceful, 50, 4),
    "deadline": (slow_database.deadline, 1, 1),
    "starvation": (slow_database.starvation, 64, 64),
    "exports": (slow_database.exports, 1_000_000, 100_000),
    "timing": (slow_database.timing, 20_000, 6000),
    "checksums": (slow_database.checksums, 100_000, 10_000),
    "edges": (slow_limits.edges, 20, 5),
    "addresses": (slow_limits.addresses, 1, 1),
    "strangers": (slow_limits.strangers, 1_000_000, 50_000),
}


class Tally:
    def __init__(self):
        self.good, self.failed = 0, []

    def case(self, group, name, is_good, expected="", got=""):
        self.good += bool(is_good)
        if not is_good:
            self.failed.append(name)
        print(f"{'good  ' if is_good else 'FAILED'} {group} | {name}" + ("" if is_good else f" | expected {expected} | got {str(got)[:300]}"), flush=True)

    def figure(self, group, name, is_good, expected):
        """A case whose name holds what was measured."""
        self.case(group, name, is_good, expected, "see there")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="codash, such as target/release/codash")
    parser.add_argument("--only", help=f"some of {', '.join(TRIALS)}, by commas")
    parser.add_argument("--short", action="store_true", help="less of each, for a look")
    args = parser.parse_args()
    tally, cluster, started = Tally(), Cluster(args.binary), time.monotonic()
    try:
        for name in (args.only or ",".join(TRIALS)).split(","):
            trial, much, little = TRIALS[name]
            begun = time.monotonic()
            try:
                trial(tally, cluster, little if args.short else much)
            except Exception:
                tally.case(name, "the trial runs to its end", False, "no exception", traceback.format_exc()[-600:])
            print(f"  {name}: {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        cluster.close()
    print(f"{tally.good + len(tally.failed)} cases, {len(tally.failed)} failed, {time.monotonic() - started:.0f} s")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
