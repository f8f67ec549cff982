"""A TCP proxy on loopback whose network can be made bad: late, lossy, silent, cut, or led elsewhere."""

import random
import select
import socket
import threading
import time


class Proxy:
    """Forwards to `target`, a port. Every field may be changed at any time."""

    def __init__(self, target, seed=1):
        self.target, self.dice = target, random.Random(seed)
        # Seconds that each piece is late, give or take `jitter`.
        self.delay = self.jitter = 0.0
        # The share of pieces that are late by `stall` more: what a lost packet costs.
        self.loss, self.stall = 0.0, 0.25
        # Nothing passes and nothing is refused: packets vanish.
        self.dark = False
        # The share of COMMITs whose answer never arrives: the connection is cut instead.
        self.cut_commits, self.cuts = 0.0, 0
        self.pairs, self.lock, self.closing = set(), threading.Lock(), False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        while self.dark and not self.closing:
            time.sleep(0.05)
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(self, client, server)
        with self.lock:
            self.pairs.add(pair)
        for args in ((client, server, True), (server, client, False)):
            threading.Thread(target=pair.pump, args=args, daemon=True).start()

    def lateness(self):
        late = max(0.0, self.delay + self.dice.uniform(-self.jitter, self.jitter))
        return late + (self.stall if self.dice.random() < self.loss else 0.0)

    def cut_all(self):
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            pair.close()

    def lead_to(self, target):
        """Another server from now on; connections to the old one are cut."""
        self.target = target
        self.cut_all()

    def close(self):
        self.closing = True
        self.listener.close()
        self.cut_all()


class Pair:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.doomed = False

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        with self.proxy.lock:
            self.proxy.pairs.discard(self)

    def pump(self, source, sink, is_request):
        proxy = self.proxy
        try:
            while piece := source.recv(65536):
                if not is_request and self.doomed:
                    # The server said that it is done; its client never hears of it.
                    proxy.cuts += 1
                    break
                if is_request and proxy.cut_commits and b"COMMIT" in piece and proxy.dice.random() < proxy.cut_commits:
                    self.doomed = True
                late = proxy.lateness()
                if late:
                    time.sleep(late)
                while proxy.dark and not proxy.closing:
                    # A side that gives up meanwhile is not told on either.
                    time.sleep(0.05)
                    if select.select([source], [], [], 0)[0] and not source.recv(1, socket.MSG_PEEK):
                        break
                sink.sendall(piece)
        except (OSError, ValueError):
            # Closed meanwhile, here or by the other direction.
            pass
        self.close()
