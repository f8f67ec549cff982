"""E: cursors that were changed, or that belong to somebody or something else."""

import base64
import random
import uuid
from urllib.parse import quote

from .world import furnish, records

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
GARBAGE = ["x", "A" * 64, "A" * 512, "null", "0", "-1", "../../etc/passwd", "' OR 1=1--", "eyJsYXN0VHMiOjB9", "=" * 64, "\u202e", "%00", "a\u0000b", "\u0661" * 10,
           base64.b64encode(b'{"lastTs":0,"workspaceId":"x"}').decode(), str(uuid.uuid4()), "\U0001f600" * 20]
# Routes with signed cursors, beside the tool.
ROUTES = ["/api/trade-events", "/api/trades", "/api/forensics/forced-events", "/api/cash-flows"]


def run(t):
    for text in GARBAGE:
        t.told("E", f"garbage {text[:20]!r}", t.call("get_trade_events", {"cursor": text}), "invalid_cursor")
        for route in ROUTES:
            answer = t.ask("GET", f"{route}?cursor={quote(text)}", t.a.key)
            t.refused("E", f"{route} with garbage {text[:20]!r}", answer, 400, ("invalid_cursor", "invalid_request"))
    furnish(t)
    for path in (f"/api/automations/{t.a.things['automation']}/runs", f"/api/automations/webhooks/{t.a.things['webhook']}/deliveries"):
        for text in ("x", "", "0", "%00", "../", str(uuid.uuid4()) + "0"):
            t.refused("E", f"{path[:24]} with {text!r}", t.ask("GET", f"{path}?cursor={quote(text)}", t.a.key), 400, "invalid_request")
        answer = t.ask("GET", f"{path}?cursor={t.b.things['run']}", t.a.key)
        t.case("E", "a stranger's run as a place shows nothing of theirs", answer.status in (200, 400) and t.b.things["run"].encode() not in answer.body, "nothing", answer)
    for text in ("x", "0", "-1", "9" * 30, "%00", "' OR 1=1"):
        t.refused("E", f"audit with {text!r}", t.ask("GET", f"/api/audit?cursor={quote(text)}", t.a.things["token"]), 400)
    if records(t, t.a) and records(t, t.b):
        mutations(t)
        strangers(t)


def first(t, key=None, **arguments):
    """A cursor to the second page."""
    answer = t.call("get_trade_events", {"limit": 1, **arguments}, key)
    return answer.json["result"]["structuredContent"]["nextCursor"]


def mutations(t):
    good = first(t)
    t.told("E", "the cursor as it is", t.call("get_trade_events", {"cursor": good}))
    t.told("E", "with another limit", t.call("get_trade_events", {"cursor": good, "limit": 7}))
    raw = base64.urlsafe_b64decode(good)
    changed = {f"cut to {n}": good[:n] for n in (1, 2, 3, 21, 22, 32, 43, 44, 62, 63)}
    changed |= {f"letter {i}": good[:i] + LETTERS[(LETTERS.index(good[i]) + 1) % 64] + good[i + 1:] for i in range(len(good))}
    for bit in random.Random(7).sample(range(len(raw) * 8), 60):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        changed[f"bit {bit}"] = encoded(bytes(flipped))
    changed |= {
        "twice": good * 2, "padded": good + "=", "padded twice": good + "==", "a blank behind": good + " ", "a blank in front": " " + good, "a line feed": good + "\n",
        "in capitals": good.upper(), "reversed": good[::-1], "quoted": quote(quote(good)) + "%", "encoded twice": base64.urlsafe_b64encode(good.encode()).decode(),
        "in hexadecimal": raw.hex(), "no tag": encoded(raw[:-16]), "a tag of zeros": encoded(raw[:-16] + bytes(16)), "a byte more": encoded(raw + b"\x00"),
        "a byte less": encoded(raw[:-1]), "halves swapped": encoded(raw[32:] + raw[:32]), "window of another": encoded(bytes(16) + raw[16:]),
        "a NUL": good + "\u0000", "fullwidth": chr(0xff00 + ord(good[0]) - 32) + good[1:], "a zero width space": good + "\u200b",
    }
    standard = base64.b64encode(raw).decode()
    if standard != good:
        changed["the other alphabet"] = standard
    for name, text in changed.items():
        answer = t.call("get_trade_events", {"cursor": text})
        t.told("E", f"a cursor: {name}", answer, "invalid_cursor")
    for name in ("letter 0", "letter 63", "twice", "no tag"):
        answer = t.ask("GET", f"/api/trade-events?cursor={quote(changed[name])}", t.a.key)
        t.refused("E", f"a cursor in a query: {name}", answer, 400, "invalid_cursor")


def encoded(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def strangers(t):
    good = first(t)
    t.told("E", "of another workspace", t.call("get_trade_events", {"cursor": good}, t.b.key), "invalid_cursor")
    t.told("E", "of another key", t.call("get_trade_events", {"cursor": good}, t.child(t.a)["apiKey"]), "invalid_cursor")
    mine = t.a.accounts[0]
    for name, more in (("an account", {"accountId": mine}), ("accounts", {"accountIds": [mine]}), ("every account by name", {"accountIds": t.a.accounts}),
                       ("symbols", {"symbols": ["BTC-PERP"]}), ("types", {"eventTypes": ["trade"]}), ("symbols in small letters", {"symbols": ["btc-perp"]})):
        answer = t.call("get_trade_events", {"cursor": good, **more})
        t.told("E", f"with {name} added", answer, "invalid_cursor")
    narrow = first(t, accountId=mine)
    t.told("E", "the same filter", t.call("get_trade_events", {"cursor": narrow, "accountId": mine}))
    t.told("E", "the filter left out", t.call("get_trade_events", {"cursor": narrow}), "invalid_cursor")
    t.told("E", "the filter of another account", t.call("get_trade_events", {"cursor": narrow, "accountId": t.a.accounts[-1]}), "invalid_cursor")
    cursors = {}
    for route in ROUTES:
        answer = t.ask("GET", f"{route}?limit=1", t.a.key)
        cursors[route] = ((answer.json or {}).get("data") or {}).get("nextCursor")
    for home, cursor in cursors.items():
        for route in ROUTES:
            # The tool's question is the route's too.
            if cursor and route != home:
                answer = t.ask("GET", f"{route}?cursor={cursor}", t.a.key)
                t.refused("E", f"a cursor of {home} at {route}", answer, 400, "invalid_cursor")
        if cursor:
            t.answered("E", f"a cursor of {home} at home", t.ask("GET", f"{home}?cursor={cursor}", t.a.key))
            t.refused("E", f"a cursor of {home}, a stranger's", t.ask("GET", f"{home}?cursor={cursor}", t.b.key), 400, "invalid_cursor")
    answer = t.call("get_trade_events", {"cursor": good, "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"})
    t.told("E", "a window beside a cursor is left aside", answer)
