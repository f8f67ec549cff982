#!/usr/bin/env python3
"""A full disk under PostgreSQL: reads go on, writes fail in shape, and all is well once there is space.

Starts PostgreSQL on a tmpfs of 256 MiB (needs root to mount; else --place says a folder on a small filesystem
of its own) with its WAL elsewhere, and `codash serve`. Fills the disk to the last block under reads and writes
with a ledger, waits, frees it. Checks: every read is answered, every error has the contract's shape, writes
resume within 30 s of the space, no acknowledged write is lost, and pg_amcheck finds nothing. `--wal-inside 1`
puts the WAL on the full disk too: PostgreSQL may then stop itself, and what is checked is that nothing is lost and
that all is well once it runs again.

    python3 scripts/faults/disk-full.py --codash target/release/codash [--seconds 20]
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import load
from lab import Cluster, Lab, Report, arguments, call


def small_disk(lab, args):
    if args.place:
        return Path(args.place)
    if os.geteuid() != 0:
        sys.exit("mounting a tmpfs needs root: or say --place, a folder on a small filesystem of its own")
    place = lab.place / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={args.megabytes}m", "tmpfs", place], check=True)
    lab.ends.append(lambda: subprocess.run(["umount", "-l", place], check=False))
    return place


def fill(path):
    """Writes until nothing fits any more, down to a single byte."""
    with open(path, "ab", buffering=0) as ballast:
        size = 1 << 20
        while size:
            try:
                if ballast.write(b"\0" * size) < size:
                    size //= 2
            except OSError:
                size //= 2


def main():
    args = arguments(
        __doc__,
        seconds=(20.0, "of a full disk"),
        megabytes=(256, "of disk"),
        rate=(40, "reads a second"),
        place=("", "a small filesystem"),
        wal_inside=(0, "1: the WAL too"),
    )
    report = Report("full disk" + (", WAL and all" if args.wal_inside else ""))
    with Lab(args, "disk") as lab:
        place = small_disk(lab, args)
        (place / "pg").mkdir()
        database = Cluster(lab, "primary", place / "pg")
        if not args.wal_inside:
            wal = lab.place / "wal"
            wal.mkdir()
            if lab.pg_user:
                os.chmod(wal, 0o777)
            database.run(
                "initdb",
                "-D",
                database.data,
                "-X",
                wal / "pg_wal",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            )
            database.configure(
                max_connections=300,
                shared_buffers="64MB",
                max_wal_size="64MB",
                min_wal_size="32MB",
                log_min_messages="warning",
            )
        else:
            database.init(max_wal_size="64MB", min_wal_size="32MB")
        database.start()
        database.sql("CREATE DATABASE codash", "postgres")
        lab.codash_once(database.url(), "migrate")
        server = lab.serve(database.url())
        key, _, accounts, automations = load.workspace(lab, server, database.url())
        work = load.Load(server.url, key, args.rate).start(accounts, automations)
        time.sleep(3)
        ballast = place / "ballast"
        full, end = work.clock(), time.monotonic() + args.seconds
        while time.monotonic() < end:
            # What PostgreSQL gives back is taken again.
            fill(ballast)
            time.sleep(0.1)
        live = call(server.url, "GET", "/health/live").status
        freed = work.clock()
        ballast.unlink()
        restarted = False
        if not database.accepts():
            restarted = True
            database.stop("immediate")
            database.start()
        time.sleep(15)
        back = work.first_success(freed)
        late = [s for s in work.seen if s.start > freed + 10 and not 200 <= s.status < 300]
        work.stop()
        report.say(
            f"while it was full: reads {work.words(kind='read', since=full, until=freed)}; writes {work.words(kind='write', since=full, until=freed)}"
        )
        if args.wal_inside:
            report.say(f"PostgreSQL {'had stopped and was started' if restarted else 'ran on'}")
        else:
            reads = work.count("read", full, freed)
            report.check("every read is answered", set(status for status, _ in reads) == {200}, sum(reads.values()))
            failed = [
                s for s in work.seen if s.kind == "write" and full <= s.start < freed and not 200 <= s.status < 300
            ]
            report.check("the disk was full indeed: writes failed", len(failed) > 0, len(failed))
        report.check("the server lived and was alive", server.alive() and live == 200)
        report.check(
            "writes resume within 30 s of the space", back[1] <= 30, f"reads {back[0]:.2f} s, writes {back[1]:.2f} s"
        )
        report.check("10 s after that nothing fails any more", not late, f"{len(late)} failed")
        # A disk that is full is no lost database: 500, retry once, then escalate.
        work.check(report, allowed={500, 504})
        found = database.run(
            "pg_amcheck",
            "--install-missing",
            "-h",
            "127.0.0.1",
            "-p",
            database.port,
            "-U",
            "postgres",
            "codash",
            check=False,
        )
        report.check("pg_amcheck finds nothing", not found.strip(), found.strip()[:300])
    report.done()


if __name__ == "__main__":
    main()
