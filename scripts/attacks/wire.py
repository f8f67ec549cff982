"""HTTP over plain sockets: what no well-behaved client library would send, and every byte of the answer."""

import json
import socket
import ssl
from urllib.parse import urlsplit


class Broken(Exception):
    """The other side closed before an answer was whole, or did not answer in time."""


class Answer:
    """One HTTP answer. `interim` are the 1xx that came before it."""

    def __init__(self, status, headers, body, interim=()):
        self.status, self.headers, self.body, self.interim = status, headers, body, list(interim)

    def header(self, name):
        """The value, None when absent; several are joined as HTTP joins them."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Connection:
    """A socket and what was read ahead."""

    def __init__(self, place, timeout=20.0):
        self.place, self.ahead = place, b""
        self.socket = place.connect(timeout)

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except (TimeoutError, socket.timeout) as error:
            raise Broken("no answer in time") from error
        except OSError as error:
            raise Broken(f"the connection broke: {error}") from error
        self.ahead += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.ahead:
            if not self._more():
                raise Broken(f"closed after {self.ahead[:200]!r}")
        taken, self.ahead = self.ahead.split(mark, 1)
        return taken

    def _exactly(self, count):
        while len(self.ahead) < count:
            if not self._more():
                raise Broken(f"closed {count - len(self.ahead)} bytes early")
        taken, self.ahead = self.ahead[:count], self.ahead[count:]
        return taken

    def is_closed(self, wait=1.0):
        """True when the other side ends the connection within `wait` seconds and sends nothing more."""
        self.socket.settimeout(wait)
        try:
            return not self.ahead and not self._more()
        except Broken as broken:
            return "broke" in str(broken)

    def answer(self, to_head=False):
        interim = []
        while True:
            lines = self._until(b"\r\n\r\n").split(b"\r\n")
            status = int(lines[0].split(b" ")[1])
            pairs = [line.split(b":", 1) for line in lines[1:] if b":" in line]
            headers = [(k.decode("latin-1").lower(), v.strip().decode("latin-1")) for k, v in pairs]
            if status >= 200:
                return Answer(status, headers, self._body(status, dict(headers), to_head), interim)
            interim.append(status)

    def _body(self, status, headers, to_head):
        if to_head or status in (204, 304):
            return b""
        if "chunked" in headers.get("transfer-encoding", ""):
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        while self._more():
            pass
        body, self.ahead = self.ahead, b""
        return body

    def _chunks(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return body
            body += self._exactly(size)
            self._exactly(2)


class Place:
    """A server, by its URL."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc
        self.origin = f"{parts.scheme}://{parts.netloc}"

    def connect(self, timeout=20.0):
        connected = socket.create_connection((self.host, self.port), timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.is_tls:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=self.host)
        return connected

    def request(self, method, path, headers=(), body=None):
        """The bytes of a request. Texts are sent as UTF-8, whatever HTTP says of them."""
        lines = [as_bytes(method) + b" " + as_bytes(path) + b" HTTP/1.1"]
        names = {as_bytes(name).lower() for name, _ in headers}
        if b"host" not in names:
            lines.append(b"host: " + self.authority.encode())
        lines += [as_bytes(name) + b": " + as_bytes(value) for name, value in headers]
        body = as_bytes(body) if body is not None else None
        if body is not None and not names & {b"content-length", b"transfer-encoding"}:
            lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def as_bytes(text):
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")


class Client:
    """Requests over a connection that is kept while it lasts."""

    def __init__(self, place, timeout=20.0):
        self.place, self.timeout, self.kept = place, timeout, None

    def ask(self, method, path, headers=(), body=None):
        return self.raw(self.place.request(method, path, headers, body), to_head=method == "HEAD")

    def raw(self, data, to_head=False):
        """Sends bytes and reads one answer; once more on a new connection when a kept one had ended."""
        fresh = self.kept is None
        connection = self.kept or Connection(self.place, self.timeout)
        self.kept = None
        try:
            try:
                connection.send(data)
            except OSError:
                if not fresh:
                    raise Broken("the kept connection had ended") from None
            answer = connection.answer(to_head)
        except Broken:
            connection.close()
            if fresh:
                raise
            return self.raw(data, to_head)
        if "close" in (answer.header("connection") or ""):
            connection.close()
        else:
            self.kept = connection
        return answer

    def alone(self, data, to_head=False, timeout=None):
        """One answer on a connection of its own; None when the other side closes without a word."""
        connection = Connection(self.place, timeout or self.timeout)
        try:
            try:
                connection.send(data)
            except OSError:
                pass
            return connection.answer(to_head)
        except Broken:
            return None
        finally:
            connection.close()
