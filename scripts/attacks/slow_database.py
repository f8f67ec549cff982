"""Deadlines and starvation: what a locked table does to who asks for it, and to who does not."""

import base64
import os
import socket
import statistics
import struct
import subprocess
import threading
import time
import uuid

from .server import BASE62, Hold, Server, made_up_key, near_miss, percentile, pour, psql
from .slow_sockets import request
from .wire import Client, Connection

EVENTS = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_trade_events"}}'


def timed(server, data):
    begun = time.monotonic()
    answer = Client(server.place, 30).raw(data)
    return time.monotonic() - begun, answer.status, answer.json.get("code")


def deadline(t, cluster, _):
    """G11: a statement that waits for ever is ended by PostgreSQL, and the request answered 504, in time."""
    server = Server(cluster)
    key = server.register()["apiKey"]
    lock = Hold(server.database, "LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    for name, data in (("a tool", request(server, key, EVENTS)), ("a route", server.place.request(b"GET", b"/api/trade-events", [("x-api-key", key)]))):
        took, status, code = timed(server, data)
        t.figure("deadline", f"{name} behind a lock: {status} {code} after {took:.2f} s", status == 504 and code == "deadline_exceeded" and took <= 10.25, "504 within 10.25 s")
    time.sleep(1)
    left = psql(server.database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    t.case("deadline", "no statement waits on a second later", left == "0", 0, left)
    lock.release()
    took, status, _ = timed(server, request(server, key, EVENTS))
    t.figure("deadline", f"when the lock is gone: {status} after {took:.2f} s", status == 200 and took <= 1, "200 within 1 s")
    server.close()


def exports(t, cluster, rows):
    """G17: a file is whole and costs little memory; who goes away in the middle frees its connection at once."""
    server = Server(cluster)
    workspace = server.register()
    key = workspace["apiKey"]
    settings = {"CODASH_DATABASE_URL": server.database, "CODASH_MASTER_KEYS": "a:" + base64.b64encode(bytes(32)).decode(), "CODASH_LOG": "error"}
    load = [cluster.binary, "load", "--workspace", workspace["workspaceId"], "--events", str(rows)]
    subprocess.run(load, env=os.environ | settings, check=True, stdout=cluster.log, stderr=cluster.log)
    counted = server.ask("GET", "/api/export/events/count", key).json["data"]["count"]
    before, most, got = server.rss(), [0], []

    def fetch(kind):
        body = Client(server.place, 600).ask("GET", f"/api/export/events?format={kind}", [("x-api-key", key)]).body
        got.append((kind, body.count(b"\n") - 1, len(body)))

    def watch():
        while any(thread.is_alive() for thread in threads):
            most[0] = max(most[0], server.rss())
            time.sleep(0.02)

    threads = [threading.Thread(target=fetch, args=(kind,)) for kind in ("csv", "jsonl")]
    for thread in threads:
        thread.start()
    watch()
    grown = (most[0] - before) / 2**20
    t.figure("exports", f"two files of {counted} rows ({sum(size for _, _, size in got) >> 20} MiB): +{grown:.1f} MiB; lines {[lines for _, lines, _ in got]}", grown <= 32 and all(lines == counted for _, lines, _ in got), "+32 MiB at most, as many lines as rows")
    ask = server.place.request(b"GET", b"/api/export/events?format=csv", [("x-api-key", key)])
    gone = [Connection(server.place) for _ in range(4)]
    for connection in gone:
        connection.send(ask)
        connection.socket.recv(65536)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active' AND datname = current_database()"
    held = psql(server.database, busy)
    for connection in gone:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    begun = time.monotonic()
    while psql(server.database, busy) != "0" and time.monotonic() - begun < 10:
        time.sleep(0.05)
    freed = time.monotonic() - begun
    t.figure("exports", f"{held} downloads broken off: their statements are gone after {freed:.2f} s", freed <= 1 and held != "0", "1 s")
    server.close()


LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_accounts"}}'


def starvation(t, cluster, askers):
    """G13: one tenant's slow questions leave room for others; when several hold every connection, ping and health
    answer as ever, other questions are told 504 soon, and all is well as soon as the cause is gone."""
    server = Server(cluster)
    greedy, second, other = (server.register()["apiKey"] for _ in range(3))
    lock = Hold(server.database, "LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    told, threads = [], []

    def crowd(key, count):
        held = request(server, key, EVENTS)
        more = [threading.Thread(target=lambda: told.append(timed(server, held))) for _ in range(count)]
        for thread in more:
            thread.start()
        threads.extend(more)
        time.sleep(0.8)

    crowd(greedy, askers)
    took, status, code = timed(server, request(server, other, LIST))
    t.figure("starvation", f"beside {askers} slow questions of one tenant, another's: {status} {code} after {took:.2f} s", status == 200 and took <= 1, "200 within 1 s")
    crowd(second, askers)
    waiting = psql(server.database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    for name, data in (("ping", request(server, other)), ("health", server.place.request(b"GET", b"/health/live"))):
        client, took, statuses = Client(server.place), [], set()
        for _ in range(100):
            begun = time.perf_counter()
            statuses.add(client.raw(data).status)
            took.append(time.perf_counter() - begun)
            if sum(took) > 3:
                break
        p99 = percentile(took, 0.99)
        t.figure("starvation", f"{name} while two tenants hold {waiting} connections: p99 {p99 * 1e3:.1f} ms, {statuses}", p99 <= 0.05 and statuses == {200}, "50 ms, 200")
    took, status, code = timed(server, request(server, other, LIST))
    t.figure("starvation", f"a third tenant's question then: {status} {code} after {took:.2f} s", status in (200, 504) and took <= 2, "200, or 504 within 2 s")
    for thread in threads:
        thread.join()
    soon = [took for took, status, _ in told if status == 504 and took <= 2.25]
    late = [took for took, status, _ in told if status == 504 and 2.25 < took <= 10.25]
    t.figure("starvation", f"{len(told)} slow questions: {len(soon)} without a connection were told 504 within 2 s, {len(late)} at the deadline", len(soon) + len(late) == 2 * askers, "504 for each")
    crowd(greedy, askers // 4)
    lock.release()
    begun = time.monotonic()
    while timed(server, request(server, greedy, LIST))[1] != 200:
        time.sleep(0.02)
    recovered = time.monotonic() - begun
    t.figure("starvation", f"recovered {recovered:.2f} s after the lock was released", recovered <= 1, "1 s")
    for thread in threads:
        thread.join()
    server.close()


def welch(a, b):
    return (statistics.fmean(a) - statistics.fmean(b)) / (statistics.variance(a) / len(a) + statistics.variance(b) / len(b)) ** 0.5


def trimmed(values):
    """Without the slowest twentieth: what the scheduler did, not the server."""
    ordered = sorted(values)
    return ordered[: len(ordered) * 19 // 20]


def sample(server, requests, count):
    """Seconds of each kind of request, taken in turns on one connection, so that noise falls on all alike. The
    requests are made before: work between two of them would be a difference of ours."""
    connection, took = Connection(server.place), {name: [] for name in requests}
    for i in range(count):
        names = list(requests)
        for name in names[i % len(names):] + names[: i % len(names)]:
            data = requests[name][i % len(requests[name])]
            begun = time.perf_counter()
            connection.send(data)
            answer = connection.answer()
            took[name].append(time.perf_counter() - begun)
            assert answer.status in (401, 403, 404), answer
    connection.close()
    return took


def timing(t, cluster, count):
    """G7 and G3: how long a refusal takes tells nothing of how near a key was, or whether an id is somebody's."""
    server = Server(cluster)
    mine, theirs = server.register()["apiKey"], server.register()["apiKey"]
    gone = server.children(mine, 30)
    for child in gone:
        server.ask("DELETE", f"/api/keys/self/children/{child['key']['id']}", mine)

    def refused(key):
        return server.place.request(b"GET", b"/api/accounts", [("authorization", f"Bearer {key}")])

    kinds = {"near": [refused(near_miss(mine, n)) for n in range(1, 31)], "unknown": [refused(made_up_key()) for _ in range(30)],
             "revoked": [refused(child["apiKey"]) for child in gone]}
    sample(server, kinds, 200)
    took = sample(server, kinds, count)
    medians = {name: statistics.median(values) * 1e6 for name, values in took.items()}
    spread = max(medians.values()) - min(medians.values())
    pairs = [("near", "unknown"), ("near", "revoked"), ("unknown", "revoked")]
    # Neighbours in time share the machine's mood: their differences show less of it than the medians do.
    paired = max(abs(statistics.median(x - y for x, y in zip(took[a], took[b]))) * 1e6 for a, b in pairs)
    worst = max(abs(welch(trimmed(took[a]), trimmed(took[b]))) for a, b in pairs)
    shown = ", ".join(f"{name} {value:.0f} us" for name, value in medians.items())
    t.figure("timing", f"refused keys, {count} of each: {shown}: {spread:.0f} us apart ({paired:.0f} us between neighbours), |t| {worst:.1f}", min(spread, paired) <= 50 and worst < 4.5, "50 us, |t| 4.5")
    made = server.ask("POST", "/api/portfolios", theirs, {"name": "x"}).json["data"]["id"]
    hook = server.ask("POST", "/api/automations/webhooks", theirs, {"url": "https://hooks.example.com/"}).json["data"]["id"]
    for name, path, foreign in (("group", "/api/portfolios/%s", made), ("webhook", "/api/automations/webhooks/%s/deliveries", hook)):
        def get(one):
            return server.place.request(b"GET", path % one, [("authorization", f"Bearer {mine}")])
        took = sample(server, {"theirs": [get(foreign)], "nobody's": [get(str(uuid.uuid4()))]}, max(500, count // 10))
        one, other = (statistics.median(values) for values in took.values())
        between = statistics.median(x - y for x, y in zip(*took.values())) / other
        t.figure("timing", f"a stranger's {name} {one * 1e6:.0f} us, nobody's {other * 1e6:.0f} us: {abs(one / other - 1):.1%} apart ({between:+.1%} between neighbours)",
                 min(abs(between), abs(one / other - 1)) <= 0.05, "5 %")
    server.close()


def transactions(database):
    return int(psql(database, "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"))


def checksums(t, cluster, count):
    """G4: a key with a bad checksum is refused without a query."""
    server = Server(cluster)

    def flood(requests, share):
        connection, batch = Connection(server.place, 60), len(requests)
        refused.append(sum(pour(connection, b"".join(requests), batch) for _ in range(share // batch)))
        connection.close()

    def bad():
        key = made_up_key()
        return key[:-1] + BASE62[(BASE62.index(key[-1]) + 1) % 62]

    for name, kind in (("a bad checksum", bad), ("a good checksum", made_up_key)):
        refused, share = [], count // 4 if kind is bad else 250
        made = [[server.place.request(b"GET", b"/api/accounts", [("x-api-key", kind())]) for _ in range(50)] for _ in range(4)]
        # A connection tells of its transactions ten seconds after its last one at the latest.
        time.sleep(11)
        before, begun = transactions(server.database), time.monotonic()
        time.sleep(5)
        idle = transactions(server.database) - before
        before, begun = transactions(server.database), time.monotonic()
        threads = [threading.Thread(target=flood, args=(requests, share)) for requests in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        time.sleep(11)
        asked = transactions(server.database) - before
        allowed = idle * (took + 11) / 5 + 20
        is_good = asked <= allowed if kind is bad else asked >= 500
        t.figure("checksums", f"{sum(refused)} keys of {name}: {asked} transactions (idle: {idle} in 5 s), {sum(refused) / took:.0f} a second", is_good and sum(refused) == share // 50 * 50 * 4,
                 f"{allowed:.0f} transactions at most" if kind is bad else "one each: the count works")
    server.close()


