"""A: JSON-RPC envelopes, and what HTTP says of them at `POST /mcp`."""

import json

from .trial import JSON, MODERN

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
TOOLS = [
    "list_accounts", "get_portfolio_summary", "get_nav_history", "get_trading_activity_summary",
    "get_pnl_by_symbol", "get_trade_events", "get_largest_loss_events",
]
UNREADABLE = {
    "nothing": b"", "a blank": b" ", "half an object": b'{"jsonrpc":', "a word": b"ping", "no quotes": b"{jsonrpc:2.0}",
    "single quotes": b"{'jsonrpc':'2.0'}", "a comma too many": b'{"jsonrpc":"2.0","id":1,"method":"ping",}',
    "a comment": b'/* */{"jsonrpc":"2.0","id":1,"method":"ping"}', "text behind": PING.encode() + b" x",
    "two objects": PING.encode() * 2, "a byte order mark": b"\xef\xbb\xbf" + PING.encode(),
    "UTF-16": PING.encode("utf-16"), "UTF-16 without a mark": PING.encode("utf-16-le"),
    "UTF-32": PING.encode("utf-32"), "invalid UTF-8": b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}',
    "overlong UTF-8": b'{"jsonrpc":"2.0","id":"\xc0\xaf","method":"ping"}',
    "a surrogate in UTF-8": b'{"jsonrpc":"2.0","id":"\xed\xa0\x80","method":"ping"}',
    "a raw NUL": b'{"jsonrpc":"2.0","id":"a\x00b","method":"ping"}', "a NUL behind": PING.encode() + b"\x00",
    "a raw line feed in a string": b'{"jsonrpc":"2.0","id":"a\nb","method":"ping"}', "NaN": b"NaN",
    "NaN as id": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', "Infinity": b'{"id":Infinity}',
    "a leading zero": b'{"jsonrpc":"2.0","id":01,"method":"ping"}', "a plus": b'{"jsonrpc":"2.0","id":+1,"method":"ping"}',
    "hexadecimal": b'{"jsonrpc":"2.0","id":0x1,"method":"ping"}', "a bare dot": b'{"id":.5}', "half an exponent": b'{"id":1e}',
    "a bad escape": b'{"jsonrpc":"2.0","id":"\\x41","method":"ping"}', "True": b"True", "undefined": b"undefined",
    "an open array": b"[" * 1000, "an open object": b'{"a":' * 1000, "100,000 open brackets": b"[" * 100_000,
    "a form": b"jsonrpc=2.0&id=1&method=ping", "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a vertical tab": b"\x0b" + PING.encode(), "a no-break space": b"\xc2\xa0" + PING.encode(),
}
INVALID = {
    "a number": "1", "a string": '"ping"', "null": "null", "true": "true", "no messages": "[]", "an empty object": "{}",
    "no jsonrpc": '{"id":1,"method":"ping"}', "jsonrpc 1.0": '{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "jsonrpc a number": '{"jsonrpc":2.0,"id":1,"method":"ping"}', "jsonrpc null": '{"jsonrpc":null,"id":1,"method":"ping"}',
    "jsonrpc 2": '{"jsonrpc":"2","id":1,"method":"ping"}', "jsonrpc with a blank": '{"jsonrpc":"2.0 ","id":1,"method":"ping"}',
    "JSONRPC": '{"JSONRPC":"2.0","id":1,"method":"ping"}', "id null": '{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "id true": '{"jsonrpc":"2.0","id":true,"method":"ping"}', "id 1.5": '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    "id 1.0": '{"jsonrpc":"2.0","id":1.0,"method":"ping"}', "id 1e0": '{"jsonrpc":"2.0","id":1e0,"method":"ping"}',
    "id 1e400": '{"jsonrpc":"2.0","id":1e400,"method":"ping"}', "id an object": '{"jsonrpc":"2.0","id":{},"method":"ping"}',
    "id an array": '{"jsonrpc":"2.0","id":[1],"method":"ping"}', "id a lone surrogate": '{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
    "no method": '{"jsonrpc":"2.0","id":1}', "method null": '{"jsonrpc":"2.0","id":1,"method":null}',
    "method a number": '{"jsonrpc":"2.0","id":1,"method":1}', "method an array": '{"jsonrpc":"2.0","id":1,"method":["ping"]}',
    "method a lone surrogate": '{"jsonrpc":"2.0","id":1,"method":"\\udfff"}', "params a string": '{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}',
    "params a number": '{"jsonrpc":"2.0","id":1,"method":"ping","params":1}', "params true": '{"jsonrpc":"2.0","id":1,"method":"ping","params":true}',
    "result and error": '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "jsonrpc twice": '{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}',
    "id twice": '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', "method twice": '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
    "a name twice by an escape": '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"tools/list"}',
    "51 messages": "[" + ",".join([PING] * 51) + "]", "a thousand messages": "[" + ",".join([PING] * 1000) + "]",
}
IDS = [
    "0", "1", "-1", "9007199254740993", "-9223372036854775809", "1" + "0" * 400, '""', '"a"', '"1"', '"null"', '"\\u0000"',
    '"\\ud83d\\ude00"', '"\u202etxt"', '"' + "x" * 10_000 + '"', '"</script>"', '"\\"}"',
]
UNKNOWN_METHODS = [
    "", "Ping", "PING", "ping ", "tools", "tools/List", "tools/call/", "tools/delete", "resources/subscribe", "rpc.discover",
    "completion/complete", "logging/setLevel", "__proto__", "constructor", "../ping", "ping\u0000", "\u202eping", "p" * 5000,
    "sampling/createMessage", "roots/list", "prompts/get", "tasks/list", "server/discover", "' OR 1=1--",
]


def run(t):
    unreadable(t)
    ids_and_notifications(t)
    methods(t)
    batches(t)
    headers(t)
    modern(t)
    doors(t)


def unreadable(t):
    for name, body in UNREADABLE.items():
        t.fault("A", f"body: {name}", t.rpc(body), -32700, 400)
    for name, body in INVALID.items():
        t.fault("A", f"envelope: {name}", t.rpc(body), -32600, 400)
    for name, body in {
        "params null": '{"jsonrpc":"2.0","id":1,"method":"ping","params":null}',
        "params an array": '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}',
        "params with a name twice": '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"a":2}}',
        "params with a lone surrogate as name": '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\\ud800":1}}',
    }.items():
        t.fault("A", name, t.rpc(body), (-32600, -32602), (200, 400))
    deep = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_accounts","arguments":%s}}'
    for depth in (200, 5_000, 40_000):
        t.fault("A", f"arrays {depth} deep", t.rpc(deep % ("[" * depth + "]" * depth)), -32602)
        t.fault("A", f"objects {depth} deep", t.rpc(deep % ('{"a":' * depth + "1" + "}" * depth)), -32602)
    t.refused("A", "a body over the limit", t.rpc(PING + " " * 262_144), 413, "payload_too_large")
    t.answered("A", "a body of exactly the limit", t.rpc(PING + " " * (262_144 - len(PING))))
    many = "{" + ",".join(f'"k{i}":{i}' for i in range(20_000)) + "}"
    t.answered("A", "20,000 members in params", t.rpc('{"jsonrpc":"2.0","id":1,"method":"ping","params":%s}' % many[:200_000].rsplit(",", 1)[0] + "}}"), (200, 400))


def ids_and_notifications(t):
    for text in IDS:
        answer = t.rpc('{"jsonrpc":"2.0","id":%s,"method":"ping"}' % text)
        data = answer.json or {}
        is_good = answer.status == 200 and data.get("id") == json.loads(text) and data.get("result") == {}
        t.case("A", f"id {text[:40]} comes back", is_good, text[:60], answer)
    for method in ("notifications/initialized", "notifications/cancelled", "notifications/of/nothing", "ping", "tools/call"):
        answer = t.rpc(json.dumps({"jsonrpc": "2.0", "method": method}))
        t.case("A", f"{method} without an id", answer.status == 202 and not answer.body, "202, nothing", answer)
    for member in ('"result":{}', '"error":{"code":1,"message":"x"}'):
        answer = t.rpc('{"jsonrpc":"2.0","id":1,%s}' % member)
        t.case("A", f"a response with {member}", answer.status == 202 and not answer.body, "202, nothing", answer)


def methods(t):
    for method in UNKNOWN_METHODS:
        t.fault("A", f"method {method[:30]!r}", t.rpc(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method})), -32601)
    for method in ("tools/list", "resources/list", "prompts/list", "resources/templates/list"):
        for cursor in ('"x"', "null", "1"):
            body = '{"jsonrpc":"2.0","id":1,"method":"%s","params":{"cursor":%s}}' % (method, cursor)
            t.fault("A", f"{method} with cursor {cursor}", t.rpc(body), -32602)
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}'
    for params in (
        "{}", '{"name":null}', '{"name":1}', '{"name":["list_accounts"]}', '{"name":""}', '{"name":"LIST_ACCOUNTS"}',
        '{"name":"list_accounts "}', '{"name":"list_accounts\\u0000"}', '{"name":"../list_accounts"}', '{"name":"list\\u200b_accounts"}',
        '{"name":"create_account"}', '{"name":"%s"}' % ("x" * 10_000), '{"name":"\\ud800"}', '{"Name":"list_accounts"}',
        '{"name":"list_accounts","arguments":null}', '{"name":"list_accounts","arguments":[]}', '{"name":"list_accounts","arguments":"{}"}',
        '{"name":"list_accounts","arguments":1}', '{"name":"list_accounts","arguments":true}',
        '{"name":"list_accounts","arguments":{"a":1,"a":1}}', '{"name":"list_accounts","name":"list_accounts"}',
    ):
        t.fault("A", f"tools/call {params[:60]}", t.rpc(call % params), -32602)
    answer = t.rpc(call % '{"name":"list_accounts"}')
    t.told("A", "arguments left out are none", answer)
    initialize = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":%s}'
    known = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
    for asked in known + [MODERN, "1.0", "", "2025-11-26", "9999-99-99", " 2025-06-18", "2025-06-18\u0000", "x" * 1000]:
        answer = t.rpc(initialize % json.dumps({"protocolVersion": asked, "clientInfo": {"name": "n", "version": "1"}}))
        given = ((answer.json or {}).get("result") or {}).get("protocolVersion")
        t.case("A", f"initialize {asked[:20]!r}", given == (asked if asked in known else "2025-11-25"), asked[:20], answer)
    for asked in ("1", "null", "[]", "{}", "true"):
        t.fault("A", f"initialize with version {asked}", t.rpc(initialize % ('{"protocolVersion":%s}' % asked)), -32602)
    names = [tool["name"] for tool in t.rpc('{"jsonrpc":"2.0","id":1,"method":"tools/list"}').json["result"]["tools"]]
    t.case("A", "exactly seven tools", names == TOOLS, TOOLS, names)


def batches(t):
    answer = t.rpc("[" + ",".join([PING] * 50) + "]")
    t.case("A", "50 messages", answer.status == 200 and len(answer.json or []) == 50, 50, answer)
    answer = t.rpc('[{"jsonrpc":"2.0","method":"notifications/x"}]')
    t.case("A", "a batch of notifications", answer.status == 202 and not answer.body, "202, nothing", answer)
    for name, body, codes in (
        ("numbers", "[1,2]", [-32600, -32600]), ("arrays in an array", f"[[{PING}]]", [-32600]), ("null", "[null]", [-32600]),
        ("good and bad", f"[{PING},{{}}]", [None, -32600]), ("initialize", '[{"jsonrpc":"2.0","id":1,"method":"initialize"}]', [-32600]),
        ("an unknown method", '[{"jsonrpc":"2.0","id":1,"method":"x"}]', [-32601]), ("one id twice", f"[{PING},{PING}]", [None, None]),
    ):
        answer = t.rpc(body)
        got = [(one.get("error") or {}).get("code") for one in answer.json] if isinstance(answer.json, list) else answer
        t.case("A", f"a batch of {name}", answer.status == 200 and got == codes, codes, got)
    for version in ("2025-06-18", "2025-11-25"):
        t.fault("A", f"a batch in {version}", t.rpc(f"[{PING}]", headers=[("mcp-protocol-version", version)]), -32600, 400)


def headers(t):
    for version in ("1", "", "2025-13-13", "latest", "2025-06-18, 2025-03-26", "2025-06-18;x", "x" * 2000):
        answer = t.rpc(PING, headers=[("mcp-protocol-version", version)])
        t.fault("A", f"version header {version[:20]!r}", answer, (-32022, -32600), 400)
    two = [("mcp-protocol-version", "2025-06-18")] * 2
    t.fault("A", "the version header twice", t.rpc(PING, headers=two), -32600, 400)
    t.fault("A", "a version header beyond ASCII", t.rpc(PING, headers=[("mcp-protocol-version", "2025\u201006")]), -32600, 400)
    for kind in ("text/plain", "", "application/x-www-form-urlencoded", "application/jsonp", "text/json", "application/json, text/plain",
                 "multipart/form-data; boundary=x", "application/xml", "*/*", "json", "application/json/x", "application/ json"):
        t.refused("A", f"content type {kind!r}", t.rpc(PING, headers=[("content-type", kind)]), 415, "unsupported_media_type")
    bare = t.place.request("POST", "/mcp", [("authorization", f"Bearer {t.a.key}")], PING)
    answer = t.client.raw(bare)
    t.demand("POST /mcp", answer, "/mcp")
    t.refused("A", "no content type", answer, 415)
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"):
        t.answered("A", f"content type {kind!r} is JSON", t.rpc(PING, headers=[("content-type", kind)]))
    for accept in ("text/html", "", "application/json;q=0", "text/event-stream", "*/*;q=nan", "a" * 5000):
        t.answered("A", f"accept {accept[:20]!r} is no reason to refuse", t.rpc(PING, headers=[("accept", accept)]))
    for origin in ("https://evil.example", "null", "", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "file://", "javascript:1",
                   t.place.origin + ".evil.example", t.place.origin + "@evil.example", f"http://127.0.0.1:{t.place.port + 1}", "https://evil.example, " + t.place.origin):
        t.refused("A", f"origin {origin!r}", t.rpc(PING, headers=[("origin", origin)]), 403, "origin_not_allowed")
    own = ("origin", t.place.origin)
    for name, pair in (("first", [own, ("origin", "https://evil.example")]), ("last", [("origin", "https://evil.example"), own])):
        t.refused("A", f"two origins, ours {name}", t.rpc(PING, headers=pair), 403, "origin_not_allowed")


def modern(t):
    version, able = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
    good = {version: MODERN, able: {}}

    def ask(method, meta, lines, **params):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta, **params}}
        return t.rpc(json.dumps(body), headers=lines)

    says, lists = ("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")
    t.answered("A", "a modern request", ask("tools/list", good, [says, lists]))
    for name, answer, code in (
        ("no headers", ask("tools/list", good, []), -32020), ("no method header", ask("tools/list", good, [says]), -32020),
        ("another method header", ask("tools/list", good, [says, ("mcp-method", "ping")]), -32020),
        ("another version header", ask("tools/list", good, [("mcp-protocol-version", "2025-06-18"), lists]), -32020),
        ("an unknown version", ask("tools/list", {version: "2099-01-01", able: {}}, [("mcp-protocol-version", "2099-01-01"), lists]), -32022),
        ("a version that is no string", ask("tools/list", {version: 1, able: {}}, [says, lists]), -32602),
        ("no capabilities", ask("tools/list", {version: MODERN}, [says, lists]), -32602),
        ("no meta", t.rpc('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', headers=[says, lists]), -32602),
        ("no name header", ask("tools/call", good, [says, ("mcp-method", "tools/call")], name="list_accounts"), -32020),
        ("another name header", ask("tools/call", good, [says, ("mcp-method", "tools/call"), ("mcp-name", "get_trade_events")], name="list_accounts"), -32020),
        ("a bad name header", ask("tools/call", good, [says, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?!!?=")], name="list_accounts"), -32020),
    ):
        t.fault("A", f"modern: {name}", answer, code, 400)
    t.fault("A", "modern: an unknown method", ask("ping", good, [says, ("mcp-method", "ping")]), -32601, 404)


def doors(t):
    for method in ("GET", "DELETE", "PUT", "PATCH", "HEAD"):
        answer = t.ask(method, "/mcp", t.a.key)
        t.case("A", f"{method} /mcp", answer.status == 405 and "POST" in (answer.header("allow") or ""), "405, allow", answer)
    for key in (None, "kv_live_x"):
        answer = t.ask("POST", "/mcp", key, body=PING)
        t.refused("A", f"POST /mcp with key {key}", answer, 401)
    for path in ("/mcp/", "/MCP", "/mcp/sse", "/mcp%2f", "//mcp", "/mcp;x"):
        t.refused("A", f"POST {path}", t.ask("POST", path, t.a.key, body=PING), 404, "not_found")
    t.refused("A", "a query at /mcp", t.ask("POST", "/mcp?key=1", t.a.key, body=PING), 400, "invalid_request")
