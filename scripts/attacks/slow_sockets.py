"""Sockets that are slow, that break, and senders that send too much."""

import errno
import json
import select
import signal
import socket
import struct
import threading
import time

from .server import Server, percentile, psql
from .wire import Broken, Client, Connection

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def request(server, key, body=PING, path=b"/mcp"):
    lines = [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
    return server.place.request(b"POST", path, lines, body)


def latencies(server, key, seconds, data=None):
    """Seconds of each answer to one careful client."""
    client, took, data = Client(server.place), [], data or request(server, key)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        if client.raw(data).status != 200:
            raise Broken("a careful client was refused")
        took.append(time.perf_counter() - begun)
        time.sleep(0.002)
    return took


def half_open(t, cluster, count):
    """G16: silent, half a head, half a body. Others are answered as before, and all of them are closed in time."""
    server = Server(cluster)
    key = server.register()["apiKey"]
    idle = percentile(latencies(server, key, 8), 0.99)
    parts = {
        "silent": (b"", 10), "half a head": (b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: ", 10),
        "half a body": (b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", 30),
    }
    opened, closed = {}, {name: [] for name in parts}
    poll = select.poll()
    for i in range(count):
        name = list(parts)[i % 3]
        sock = server.place.connect(30)
        sock.sendall(parts[name][0])
        opened[sock.fileno()] = (sock, name, time.monotonic())
        poll.register(sock, select.POLLIN | select.POLLHUP)
    busy = []
    careful = threading.Thread(target=lambda: busy.extend(latencies(server, key, 8)))
    careful.start()
    until = time.monotonic() + 45
    while opened and time.monotonic() < until:
        for number, _ in poll.poll(200):
            sock, name, begun = opened[number]
            try:
                ended = not sock.recv(65536)
            except OSError:
                ended = True
            if ended:
                closed[name].append(time.monotonic() - begun)
                poll.unregister(number)
                sock.close()
                del opened[number]
    careful.join()
    for name, (_, deadline) in parts.items():
        took = closed[name]
        low, high = (min(took), max(took)) if took else (0, 0)
        is_good = len(took) == sum(1 for i in range(count) if list(parts)[i % 3] == name) and high <= deadline + 3
        t.case("slow", f"{len(took)} {name}: closed after {low:.1f} to {high:.1f} s", is_good, f"all at {deadline} s", f"{len(opened)} still open")
    p99 = percentile(busy, 0.99)
    t.figure("slow", f"p99 of another client beside {count} half-open sockets: {p99 * 1e3:.1f} ms, idle {idle * 1e3:.1f} ms: x{p99 / idle:.2f}", p99 <= 2 * idle, "x2 at most")
    server.close()


def drips(t, cluster, count):
    """G16: a byte now and then keeps nothing open, and an answer that nobody takes is given up."""
    server = Server(cluster)
    form = b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    told = {}

    def drip(name, head, drop):
        connection = Connection(server.place, 1)
        begun, got = time.monotonic(), b""
        connection.send(head)
        connection.socket.settimeout(0.5)
        while time.monotonic() - begun < 50:
            try:
                connection.send(drop)
                piece = connection.socket.recv(4096)
                got += piece
                if not piece:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        told.setdefault(name, []).append((time.monotonic() - begun, got.split(b" ")[1:2]))
        connection.close()

    def unread():
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(10)
        sock.connect((server.place.host, server.place.port))
        sock.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 20)
        time.sleep(40)
        got = 0
        try:
            while piece := sock.recv(1 << 20):
                got += len(piece)
        except OSError:
            pass
        told.setdefault("unread", []).append((got, whole * 20))
        sock.close()

    whole = len(Client(server.place).ask("GET", "/openapi.json").body)
    kinds = {
        "a head": (b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: ", b"a", 10, [None, b"408"]),
        "a body": (form + b"content-length: 9999\r\n\r\n", b" ", 30, [b"408"]),
        "chunks": (form + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", 30, [b"408"]),
    }
    threads = [threading.Thread(target=drip, args=(name, kinds[name][0], kinds[name][1])) for name in kinds for _ in range(count)]
    threads += [threading.Thread(target=unread) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (_, _, deadline, statuses) in kinds.items():
        took = [seconds for seconds, _ in told[name]]
        said = {status[0] if status else None for _, status in told[name]}
        t.figure("drips", f"{count} x {name}, a byte every half second: ended after {min(took):.1f} to {max(took):.1f} s, {said}", max(took) <= deadline + 3 and said <= set(statuses), f"{deadline} s")
    given_up = sum(got < all_of_it for got, all_of_it in told["unread"])
    t.figure("drips", f"{count} who take nothing of 20 answers: {given_up} were given up within 40 s", given_up == count, count)
    server.close()


def aborted(t, cluster, count):
    """G12: requests whose clients reset the connection at any moment. No connection to PostgreSQL is left in a transaction."""
    server = Server(cluster)
    key = server.register()["apiKey"]
    ask = [request(server, key, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}}).encode())
           for name in ("get_trade_events", "get_pnl_by_symbol", "get_portfolio_summary", "get_nav_history")]
    reset = struct.pack("ii", 1, 0)

    def many(first):
        for i in range(first, count, 16):
            sock = server.place.connect(10)
            data = ask[i % 4]
            sock.sendall(data if i % 5 else data[: i % len(data)])
            time.sleep((i * 7 % 40) / 4000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            sock.close()

    threads = [threading.Thread(target=many, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    worst = 0
    while any(thread.is_alive() for thread in threads):
        worst = max(worst, int(stuck(server)))
        time.sleep(0.3)
    time.sleep(2)
    t.case("aborted", f"{count} reset connections: none is idle in a transaction (for over a second, meanwhile: {worst})", stuck(server) == "0" and worst == 0, 0, stuck(server))
    begun, statuses = time.monotonic(), []
    threads = [threading.Thread(target=lambda: statuses.append(Client(server.place).raw(ask[0]).status)) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    t.case("aborted", f"the pool is whole: 32 questions at once in {took:.2f} s", statuses == [200] * 32 and took <= 5, "32 answers", statuses)
    server.close()


def stuck(server):
    wanted = "state LIKE 'idle in transaction%' AND now() - state_change > interval '1 s' AND datname = current_database()"
    return psql(server.database, f"SELECT count(*) FROM pg_stat_activity WHERE {wanted}")


def too_much(t, cluster, senders):
    """G15: a hundred senders of 100 MiB, of endless heads and addresses: refused, and memory stays."""
    server = Server(cluster)
    key = server.register()["apiKey"]
    latencies(server, key, 1)
    lines = [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
    heads = {
        "announced": (server.place.request(b"POST", b"/mcp", [*lines, ("content-length", 100 << 20)]), b"x" * 65536, {413}),
        "in chunks": (server.place.request(b"POST", b"/mcp", [*lines, ("transfer-encoding", "chunked")]), b"10000\r\n" + b"x" * 65536 + b"\r\n", {413}),
        "in the head": (b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: ", b"x" * 65536, {431}),
        "in the target": (b"GET /", b"x" * 65536, {414, 431}),
    }
    for name, (head, piece, wanted) in heads.items():
        before, statuses = server.rss(), []

        def send():
            connection = Connection(server.place, 10)
            try:
                connection.send(head)
                for _ in range((100 << 20) // 65536):
                    connection.send(piece)
            except OSError:
                pass
            try:
                statuses.append(connection.answer().status)
            except Broken:
                # Closed on what was still being pushed: the answer went with it.
                statuses.append(None)
            connection.close()

        threads = [threading.Thread(target=send) for _ in range(senders)]
        for thread in threads:
            thread.start()
        most = before
        while any(thread.is_alive() for thread in threads):
            most = max(most, server.rss())
            time.sleep(0.02)
        grown = (most - before) / 2**20
        told = {status: statuses.count(status) for status in set(statuses)}
        t.figure("too much", f"{senders} senders of 100 MiB {name}: +{grown:.1f} MiB, answers {told}", grown <= 32 and set(told) <= wanted | {None}, "+32 MiB at most")
    server.close()


def graceful(t, cluster, rounds):
    """G19: SIGTERM under load: no request under way fails, readiness says no at once, the process ends in time."""
    database = cluster.database()
    failed, slowest, unready, answered = [], 0.0, 0, 0
    for _ in range(rounds):
        server = Server(cluster, database)
        key = server.register()["apiKey"]
        stop, good = threading.Event(), []
        data = request(server, key, b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_pnl_by_symbol"}}')

        def load():
            client = Client(server.place)
            while not stop.is_set():
                try:
                    # A kept connection that ended before a request is no failure: the client opens another.
                    status = client.raw(data).status
                    (good if status == 200 else failed).append(status)
                except (ConnectionRefusedError, ConnectionResetError) as error:
                    if error.errno == errno.ECONNREFUSED:
                        return
                    failed.append(repr(error))
                except (Broken, OSError) as error:
                    failed.append(repr(error))
                time.sleep(0.05)

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        try:
            unready += Client(server.place).ask("GET", "/health/ready").status == 503
        except (OSError, Broken):
            pass
        try:
            server.process.wait(20)
        except Exception:
            failed.append("did not end")
        slowest = max(slowest, time.monotonic() - begun)
        stop.set()
        for thread in threads:
            thread.join()
        answered += len(good)
        server.close()
    t.figure("stop", f"{rounds} x SIGTERM under load: {answered} answered, {len(failed)} failed, slowest end {slowest:.1f} s", not failed and slowest <= 15, f"0 failed, 15 s: {failed[:3]}")
    t.case("stop", "readiness says no at once", unready == rounds, rounds, unready)
