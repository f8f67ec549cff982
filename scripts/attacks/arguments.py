"""B: arguments of the seven tools, and of every route that takes a query string."""

import json
import uuid

ACCOUNTS = {"accountId": "id", "accountIds": "ids"}
WINDOW = {"from": "instant", "to": "instant"}
FILTERS = {"symbols": "texts", "eventTypes": "types"}
# As the contract lists them; numbers with their bounds.
TOOLS = {
    "list_accounts": {},
    "get_portfolio_summary": ACCOUNTS,
    "get_nav_history": {**ACCOUNTS, "days": (1, 365)},
    "get_trading_activity_summary": {**ACCOUNTS, **WINDOW, **FILTERS, "hours": (1, 2160)},
    "get_pnl_by_symbol": {**ACCOUNTS, **WINDOW, "symbols": "texts", "days": (1, 365), "limit": (1, 2000)},
    "get_trade_events": {**ACCOUNTS, **WINDOW, **FILTERS, "limit": (1, 1000), "cursor": "cursor"},
    "get_largest_loss_events": {**ACCOUNTS, **WINDOW, "symbols": "texts", "days": (1, 365), "limit": (1, 500)},
}
LONG = json.dumps("x" * 129)
ENDLESS = json.dumps("\u202e" + "y" * 200_000)
DIGITS = "9" * 400
NOT_TEXT = ["null", "1", "true", "[]", "{}", '["x"]']
# JSON text, so that what no writer writes can be sent.
REFUSED = {
    "id": [*NOT_TEXT, '""', LONG, ENDLESS],
    "ids": ["null", "1", '"x"', "{}", "[null]", "[1]", "[[]]", "[{}]", '[""]', f"[{LONG}]", json.dumps(["x"] * 101), '["a\\u0000b"]'],
    "texts": ["null", "1", '"BTC-PERP"', "{}", "[null]", "[1]", "[[]]", '[""]', f"[{LONG}]", json.dumps(["x"] * 101), '["a\\u0000b"]'],
    "types": ["null", "1", '"trade"', "[null]", "[1]", '["TRADE"]', '["trade "]', '["withdraw"]', '[""]', json.dumps(["trade"] * 8)],
    "instant": [*NOT_TEXT, '""', ENDLESS],
    "cursor": [*NOT_TEXT, '""', json.dumps("A" * 513), ENDLESS],
}
NOT_NUMBERS = ["null", '"7"', "true", "[]", "{}", "[7]"]
NEVER_NUMBERS = ["0", "-0", "-1", "0.0", "1e400", "-1e400", "1e-400", "1e99999999999999999999", DIGITS, "-" + DIGITS, "9007199254740993",
                 "-9223372036854775809", "18446744073709551616", "1e29", "0." + DIGITS[:60], "0.5", "0.9999999999999999999999999999999999"]
UNKNOWN = ['{"x":1}', '{"__proto__":{}}', '{"constructor":1}', '{"workspaceId":"%s"}', '{"accountID":"x"}', '{"account_id":"x"}',
           '{"":1}', '{"$where":"1"}', '{"days\\u0000":1}', '{"limit ":1}']


def run(t):
    for tool, arguments in TOOLS.items():
        for name, kind in arguments.items():
            bad = [*REFUSED[kind]] if isinstance(kind, str) else numbers(name, kind)
            for text in bad:
                answer = t.call(tool, '{"%s":%s}' % (name, text))
                t.fault("B", f"{tool} {name}={text[:40]}", answer, -32602, 200, name)
        for text in UNKNOWN:
            answer = t.call(tool, text % t.b.id if "%s" in text else text)
            t.fault("B", f"{tool} with {text[:40]}", answer, -32602)
        for text in ("NaN", "Infinity", "-Infinity", ".5", "5.", "05", "0x5", "1_000"):
            t.fault("B", f"{tool} {text}", t.call(tool, '{"days":%s}' % text), -32700, 400)
    meanings(t)
    rest(t)
    bodies(t)


def numbers(name, bounds):
    least, most = bounds
    beyond = [str(most + 1), str(least - 1), f"{most}.0001", str(-most)]
    return NOT_NUMBERS + NEVER_NUMBERS + beyond + ([] if name == "hours" else ["1.5", "7.00000000000000000000000000001"])


def meanings(t):
    for tool, name, text in (
        ("get_pnl_by_symbol", "days", "7"), ("get_pnl_by_symbol", "days", "7.0"), ("get_pnl_by_symbol", "days", "7e0"),
        ("get_pnl_by_symbol", "days", "70e-1"), ("get_pnl_by_symbol", "days", "365"), ("get_pnl_by_symbol", "limit", "2000"),
        ("get_trading_activity_summary", "hours", "1.5"), ("get_trading_activity_summary", "hours", "2160.000"),
        ("get_trade_events", "limit", "1000"), ("get_largest_loss_events", "limit", "500"), ("get_nav_history", "days", "1"),
        ("get_pnl_by_symbol", "symbols", "[]"), ("get_trade_events", "eventTypes", "[]"), ("get_trade_events", "accountIds", "[]"),
        ("get_pnl_by_symbol", "symbols", '["\u202ecod", "\\ud83d\\ude00", "BTC-PERP"]'), ("get_pnl_by_symbol", "symbols", "[\"'; DROP TABLE events;--\"]"),
        ("get_trade_events", "symbols", '["%"]'), ("get_trade_events", "symbols", '["_________"]'), ("get_trade_events", "symbols", '["\\\\"]'),
    ):
        t.told("B", f"{tool} {name}={text[:40]} is answered", t.call(tool, '{"%s":%s}' % (name, text)))
    unknown = str(uuid.uuid4())
    for text in ('"x"', f'"{unknown}"', f'"urn:uuid:{unknown}"', '"{%s}"' % unknown, '"\' OR \'1\'=\'1"', '"*"', '"%"', '"../"', '"\u202e"', '"null"',
                 '"00000000-0000-0000-0000-000000000000"', '"ffffffff-ffff-ffff-ffff-ffffffffffff"', '"a\\u0000b"', '" "'):
        for tool in ("get_portfolio_summary", "get_trade_events"):
            answer = t.call(tool, '{"accountId":%s}' % text)
            is_good = (answer.json or {}).get("error", {}).get("code") == -32602 if "0000b" in text else None
            t.told("B", f"{tool} accountId={text}", answer, "unknown_account") if not is_good else t.fault("B", text, answer, -32602)
    t.told("B", "one unknown among a hundred", t.call("get_trade_events", {"accountIds": [unknown] * 100}), "unknown_account")
    readers_own(t)
    t.fault("B", "a name twice", t.call("get_pnl_by_symbol", '{"days":7,"days":8}'), -32602)
    t.fault("B", "a name twice by an escape", t.call("get_pnl_by_symbol", '{"days":7,"d\\u0061ys":8}'), -32602)


def readers_own(t):
    """Names by which a JSON reader marks things inside itself: no object is anything else than it is written."""
    for word in ("Number", "RawValue"):
        name = f"$serde_json::private::{word}"
        for text in ('{"days":{"%s":"7"}}', '{"%s":"{\\"days\\":7}"}', '{"days":{"\\u0024%s":"7"}}', '{"symbols":[{"%s":"1"}]}', '{"symbols":{"%s":"[]"}}'):
            spelled = text % (name[1:] if "u0024" in text else name)
            t.fault("B", f"arguments {spelled[:50]}", t.call("get_pnl_by_symbol", spelled), -32602)
        for body in ({"name": {name: '"x"'}}, {name: '{"name":"x"}'}, {name: '{"name":"x","name":"y"}'}, {"name": "x", "keyName": {name: '"7"'}}):
            t.refused("B", f"register {json.dumps(body)[:60]}", t.ask("POST", "/api/agents/register", body=body), 400, "invalid_request")
        query = json.dumps({name: "7"}).replace('"', "%22").replace("{", "%7B").replace("}", "%7D").replace(" ", "")
        t.refused("B", f"a query with {word}", t.ask("GET", f"/api/trade-events?limit={query}", t.a.key), 400, "invalid_request", "limit")
    for text in ("+5", "%205", "5%20", "%0A5", "5%00", "%225%22"):
        t.refused("B", f"limit={text}", t.ask("GET", f"/api/trade-events?limit={text}", t.a.key), 400, "invalid_request", "limit")


# Of a route's query: what is wrong whatever the route does.
SPOILED = ["%", "%4", "%zz", "%00", "x%00y", "%ff", "%c0%af", "%ed%a0%80"]
BAD_INTEGERS = ["", "abc", "1.5", "0x10", "1e400", "-1e400", "NaN", "Infinity", "true", "null", "[1]", "{}", '%225%22', "1,2", "1;2", "--1",
                "%D9%A3", "%EF%BC%95", DIGITS, "-" + DIGITS, "9223372036854775808", "1e99999999999", "0b1", "1_0", "'1'"]
PLAIN_BAD_ROUTES = ["/api/status", "/api/export/counts", "/api/automations", "/api/automations/webhooks", "/api/venues", "/health/live"]


def rest(t):
    paths = t.ask("GET", "/openapi.json").json["paths"]
    for path, operations in paths.items():
        parameters = [p for p in operations.get("get", {}).get("parameters", []) if p["in"] == "query"]
        if not parameters or "/api/audit" in path or "{id}" in path:
            continue
        path = path.replace("{table}", "events")
        route(t, path, parameters)
    for path in PLAIN_BAD_ROUTES:
        for query in ("x=1", "apiKey=1", "limit=1", "%00=1", "workspaceId=" + t.b.id):
            t.refused("B", f"GET {path}?{query}", t.ask("GET", f"{path}?{query}", t.a.key), 400, "invalid_request")


def route(t, path, parameters):
    fixed = "bucket=hour&" if path.endswith("pnl-buckets") else ""
    # Dashboards send a variable that is not chosen as an empty text: there it is as good as left out.
    takes_empty = path.startswith("/api/grafana/")

    def refuse(query, place=None):
        answer = t.ask("GET", f"{path}?{query if query.startswith('bucket') else fixed + query}", t.a.key)
        t.refused("B", f"GET {path}?{query[:60]}", answer, 400, "invalid_request", place)

    for query in ("x=1", "__proto__=1", "workspaceId=" + t.b.id, "%00=1", "%ff=1", "ACCOUNTIDS=x", "=1"):
        refuse(query)
    for parameter in parameters:
        name, schema = parameter["name"], parameter["schema"]
        kind = schema.get("type")
        refuse(f"{name}={SPOILED[hash_of(path + name) % len(SPOILED)]}", name)
        if kind == "integer":
            bad = BAD_INTEGERS + [str(schema[end] + step) for end, step in (("minimum", -1), ("maximum", 1)) if end in schema]
        elif kind == "boolean":
            bad = ["", "1", "yes", "TRUE", "null", "tru"]
        else:
            bad = ["", "x", "null", schema["enum"][0].upper() + "x"] if "enum" in schema else []
        for text in bad:
            if text or not takes_empty:
                refuse(f"{name}={text}", name)
        if kind not in ("array", None):
            refuse(f"{name}=1&{name}=1", name)
        if kind == "array" and "maxItems" in schema:
            refuse(f"{name}=" + ",".join(["x"] * (schema["maxItems"] + 1)), name)
            refuse(f"{name}=a,,b", name)


def hash_of(text):
    """Which spoiling a parameter gets: the same in every run."""
    return sum(text.encode())


def bodies(t):
    """`POST /api/pnl-analysis/query`, a question in a body."""
    path, kind = "/api/pnl-analysis/query", ("content-type", "application/json")
    good = {"groupBy": ["symbol"]}
    t.answered("B", "a good body", t.ask("POST", path, t.a.key, body=good))
    for name, body in {
        "nothing": b"", "an array": b"[]", "a string": b'"x"', "null": b"null", "a byte order mark": b"\xef\xbb\xbf{}", "NaN": b'{"days":NaN}',
        "text behind": b'{"groupBy":["symbol"]} x', "a name twice": b'{"groupBy":["symbol"],"groupBy":["venue"]}', "invalid UTF-8": b'{"groupBy":["\xff"]}',
        "a lone surrogate": b'{"groupBy":["\\ud800"]}', "a raw NUL": b'{"groupBy":["a\x00"]}', "depth": b"[" * 100_000 + b"]" * 100_000,
        "depth in a field": b'{"groupBy":' + b"[" * 5000 + b"]" * 5000 + b"}", "an unknown name": b'{"groupBy":["symbol"],"workspaceId":"x"}',
        "a dimension that is none": b'{"groupBy":["password"]}', "a dimension with SQL": b'{"groupBy":["symbol; DROP TABLE x"]}',
        "groupBy a string": b'{"groupBy":"symbol"}', "groupBy null": b'{"groupBy":null}', "days a text": b'{"groupBy":["symbol"],"days":"7"}',
        "days 1e400": b'{"groupBy":["symbol"],"days":1e400}', "days 0": b'{"groupBy":["symbol"],"days":0}', "a form": b"groupBy=symbol",
    }.items():
        t.refused("B", f"pnl query: {name}", t.ask("POST", path, t.a.key, body=body), 400, "invalid_request")
    for text in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        t.refused("B", f"pnl query as {text!r}", t.ask("POST", path, t.a.key, [(kind[0], text)], json.dumps(good)), 415)
    for name, body in {
        "name null": b'{"name":null}', "name a number": b'{"name":1}', "name empty": b'{"name":""}', "name blank": b'{"name":"  "}',
        "name unseen": '{"name":"\u200b\u202e\ufeff"}'.encode(), "name long": json.dumps({"name": "x" * 101}).encode(), "an unknown field": b'{"name":"x","scopes":["workspace:read"]}',
        "keyName null": b'{"name":"x","keyName":null}', "name of 200,000": json.dumps({"name": "x" * 200_000}).encode(), "an array": b'["x","y"]',
    }.items():
        t.refused("B", f"register: {name}", t.ask("POST", "/api/agents/register", body=body), 400, "invalid_request")
    shown = t.ask("POST", "/api/agents/register", body={"name": "a\u202eb\u200bc\u0007d\u0000e"})
    t.case("B", "hidden characters leave a name", shown.status == 201 and shown.json["data"]["name"] == "abcde", "abcde", shown)
