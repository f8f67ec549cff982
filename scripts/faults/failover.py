#!/usr/bin/env python3
"""A failover to a synchronous standby loses nothing that was acknowledged, and the old primary gets nothing more.

Starts PostgreSQL with a synchronous standby and `codash serve`, which reaches the database through a small TCP
proxy, as behind a virtual address. Under reads and writes with a ledger the primary is killed (`-m immediate`),
the standby promoted and the proxy led to it. Then the old primary comes back and the proxy is led to it for a
while, as by a mistake: it waits for a standby that it no longer has, so it may not acknowledge a single write.
Checks: no acknowledged write lost, writes resume within 10 s of the failure, no answer slower than the
deadline, 0 writes acknowledged by the old primary. ROUNDS times, each with a fresh standby.

Reads would be answered by an old primary, and with old figures: keep it away. The service itself takes one
host: what follows a failover is a virtual address, a DNS name or a proxy.

    python3 scripts/faults/failover.py --codash target/release/codash [--rounds 3]
"""

import time

import load
from lab import Cluster, Lab, Report, arguments, percentile, wait_for
from proxy import Proxy


def standby_of(lab, primary, name):
    made = Cluster(lab, name)
    made.run("pg_basebackup", "-d", primary.url("postgres"), "-D", made.data, "-R", "-X", "stream", "-c", "fast")
    # Once promoted it has no standby of its own to wait for.
    made.configure(synchronous_standby_names="")
    made.start()
    primary.configure(synchronous_standby_names="*")
    primary.sql("SELECT pg_reload_conf()", "postgres")
    wait_for(
        "the standby is synchronous",
        lambda: primary.one("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1",
        30,
        0.2,
    )
    return made


def main():
    args = arguments(__doc__, rounds=(3, "failovers"), rate=(50, "reads a second"))
    report = Report("failover")
    with Lab(args, "failover") as lab:
        primary = lab.database(wal_level="replica", max_wal_senders=5, hot_standby="on", wal_keep_size="256MB")
        proxy = Proxy(primary.port)
        lab.ends.append(proxy.close)
        server = lab.serve(primary.url(port=proxy.port))
        key, _, accounts, automations = load.workspace(lab, server, primary.url())
        work = load.Load(server.url, key, args.rate).start(accounts, automations)
        resumed, wrong = {"read": [], "write": []}, []
        for n in range(args.rounds):
            standby = standby_of(lab, primary, f"standby-{n + 1}")
            time.sleep(3)
            began = time.monotonic()
            primary.stop("immediate")
            down = time.monotonic()
            standby.run("pg_ctl", "-D", standby.data, "-w", "promote")
            proxy.lead_to(standby.port)
            promoted = time.monotonic() - began
            time.sleep(8)
            for kind, seconds in zip(resumed, work.first_success(down)):
                resumed[kind].append(seconds + down - began)
            report.say(
                f"round {n + 1}: promoted after {promoted:.1f} s, first write {resumed['write'][-1]:.1f} s after the failure"
            )
            # Two primaries now: the old one is reached by mistake. What is read there is old, so it is not judged.
            primary.start()
            work.paused.set()
            time.sleep(2)
            before = work.clock()
            proxy.lead_to(primary.port)
            time.sleep(6)
            led = work.clock()
            proxy.lead_to(standby.port)
            # What was under way there ends without an answer within the deadline.
            with work.lock:
                wrong.append(
                    sum(
                        s.kind == "write" and 200 <= s.status < 300 and s.start > before + 0.1 and s.end < led
                        for s in work.seen
                    )
                )
            time.sleep(2)
            primary.stop("immediate")
            primary = standby
            time.sleep(11)
            work.paused.clear()
        work.stop()
        for kind, seconds in resumed.items():
            report.check(
                f"{kind}s resume within 10 s of the failure",
                max(seconds) <= 10,
                f"median {percentile(seconds, 0.5):.1f} s, slowest {max(seconds):.1f} s of {len(seconds)}",
            )
        report.check("the old primary acknowledges no write", sum(wrong) == 0, f"{sum(wrong)} in {6 * args.rounds} s")
        work.check(report)
        report.check("the server lived", server.alive())
    report.done()


if __name__ == "__main__":
    main()
