"""Windows: exact at their edges, bounded in memory, and a retry on time succeeds."""

import random
import threading
import time

from .server import BASE62, Server, made_up_key, pour
from .slow_sockets import request
from .wire import Client, Connection


def burst(server, data, count):
    """When requests were accepted (the earliest instant that they can have been), and what the refused were told."""
    client, accepted, waits = Client(server.place), [], []
    for _ in range(count):
        begun = time.monotonic()
        answer = client.raw(data)
        if answer.status == 429:
            waits.append(int(answer.header("retry-after")))
        elif answer.status == 200 or answer.status == 401:
            accepted.append(begun)
    return accepted, waits


def edges(t, cluster, keys):
    """G8: bursts on both sides of a minute's edge; no 60 seconds hold more than the limit."""
    server = Server(cluster, CODASH_LIMIT_READS_PER_MINUTE="100")
    root = server.register()["apiKey"]
    children = [one["apiKey"] for one in server.children(root, keys)]
    results = {}

    def one(key):
        data, all_accepted, told = request(server, key), [], []
        begun = time.monotonic()
        for at, count in ((0.0, 60), (59.0, 60), (59.9, 80), (60.1, 120), (61.5, 120)):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            accepted, waits = burst(server, data, count)
            all_accepted += accepted
            told.append((at, len(accepted)))
        wait = waits[-1] if waits else 0
        time.sleep(wait)
        results[key] = (all_accepted, told, Client(server.place).raw(data).status)

    threads = [threading.Thread(target=one, args=(key,)) for key in children]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    # Instants are the client's, before it sent: two of them lie apart as the server's do, less one answer's time.
    most = max(sum(1 for later in accepted if 0 <= later - first < 59.5) for accepted, _, _ in results.values() for first in accepted)
    t.figure("limits", f"{keys} keys, bursts at 0, 59, 59.9, 60.1 and 61.5 s: at most {most} accepted in a window; one key: {results[children[0]][1]}", most == 100, "exactly 100")
    good = sum(status == 200 for _, _, status in results.values())
    t.figure("limits", f"a retry after Retry-After: {good} of {keys} accepted", good >= keys * 0.99, "99 %")
    server.close()


def addresses(t, cluster, _):
    """G8: 300 attempts a minute and address, whatever headers say of the address."""
    server = Server(cluster, CODASH_LIMIT_CREDENTIALS_PER_MINUTE="300")
    forged = [("x-forwarded-for", "198.51.100.%d"), ("x-real-ip", "198.51.100.%d"), ("forwarded", "for=198.51.100.%d"), ("client-ip", "198.51.100.%d")]
    client, accepted, waits = Client(server.place), 0, []
    begun = time.monotonic()
    for i in range(400):
        name, value = forged[i % 4]
        answer = client.raw(server.place.request(b"GET", b"/api/accounts", [("x-api-key", made_up_key()), (name, value % (i % 250))]))
        accepted += answer.status == 401
        if answer.status == 429:
            waits.append((time.monotonic(), int(answer.header("retry-after"))))
    t.figure("limits", f"400 bad keys under 250 forged addresses: {accepted} attempts accepted in {time.monotonic() - begun:.1f} s", accepted == 300, "exactly 300")
    at, wait = waits[-1]
    time.sleep(max(0.0, at + wait - time.monotonic()))
    status = Client(server.place).raw(server.place.request(b"GET", b"/api/accounts", [("x-api-key", made_up_key())])).status
    t.case("limits", "an attempt after Retry-After is accepted", status == 401, 401, status)
    server.close()


def strangers(t, cluster, count):
    """G8: a million distinct bad keys from a million addresses: memory stays bounded."""
    server = Server(cluster, CODASH_TRUSTED_PROXIES="127.0.0.0/8", CODASH_LIMIT_CREDENTIALS_PER_MINUTE="300")
    for _ in range(200):
        Client(server.place).raw(server.place.request(b"GET", b"/api/accounts", [("x-api-key", made_up_key())]))
    before, refused, batch = server.rss(), [0] * 4, 100

    def flood(number):
        connection, rng = Connection(server.place, 60), random.Random(number)
        for i in range(number, count // batch, 4):
            lines = []
            for j in range(batch):
                n = i * batch + j
                address = f"{1 + n % 220}.{n // 220 % 256}.{n // 56320 % 256}.{7 + n % 3}" if n % 2 else f"2001:db8:{n >> 16 & 0xffff:x}:{n & 0xffff:x}::1"
                key = "kv_live_" + "".join(rng.choices(BASE62, k=49))
                lines.append(b"GET /api/accounts HTTP/1.1\r\nhost: x\r\nx-forwarded-for: %s\r\nx-api-key: %s\r\n\r\n" % (address.encode(), key.encode()))
            refused[number] += pour(connection, b"".join(lines), batch)
        connection.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, grown = time.monotonic() - begun, (server.peak() - before) / 2**20
    t.figure("limits", f"{sum(refused)} bad keys from as many addresses in {took:.0f} s ({sum(refused) / took:.0f}/s): +{grown:.1f} MiB", grown <= 64 and sum(refused) == count // batch * batch, "+64 MiB at most")
    server.close()
