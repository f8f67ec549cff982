"""C: dates, times, zones and windows."""

from urllib.parse import quote

GOOD = [
    "2024-02-29T00:00:00Z", "2000-02-29T12:00:00Z", "2026-02-28T23:59:59.999Z", "2025-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+14:00", "2026-01-01T00:00:00-12:00", "2026-01-01T00:00:00+23:59", "2026-03-29T02:30:00+01:00",
    "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1582-10-10T00:00:00Z", "0001-01-01T00:00:00Z",
]
# RFC 3339 leaves these to who reads them: answered or refused, and nothing else.
EITHER = [
    "0000-01-01T00:00:00Z", "0000-02-29T00:00:00Z", "2016-12-31T23:59:60Z", "2026-06-30T23:59:60Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z",
    "2026-01-01T00:00:00." + "1" * 60 + "Z", "0000-01-01T00:00:00+23:59", "2026-01-01T00:00:00.9999999999Z",
    # ISO 8601 prefers this minus to the hyphen.
    "2026-01-01T00:00:00\u221205:00",
]
BAD = [
    "", " ", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z",
    "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T24:00:01Z", "2026-01-01T25:00:00Z", "2026-01-01T23:60:00Z",
    "2026-01-01T23:59:61Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+14:60", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00",
    "2026-01-01T00:00:00 UTC", "2026-01-01T00:00:00Europe/Berlin", "2026-01-01T00:00:00[UTC]", "2026-01-01T00:00:00Z[UTC]", "2026-01-01T00:00Z",
    "2026-01-01T00Z", "2026-1-1T0:0:0Z", "26-01-01T00:00:00Z", "20260101T000000Z", "2026-W01-1", "2026-001", "2026-01", "2026", "--01-01T00:00:00Z",
    "+294277-01-01T00:00:00Z", "+294276-12-31T23:59:59Z", "-0001-01-01T00:00:00Z", "-4713-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "99999-12-31T23:59:59Z",
    "0000-00-00T00:00:00Z", "infinity", "-infinity", "now", "now()", "today", "tomorrow", "epoch", "allballs", "yesterday", "NaN", "null", "1700000000",
    "1700000000000", "1e12", "-1", "0", "2026-01-01T00:00:00Z ", " 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00Z; --",
    "2026-01-01TT00:00:00Z", "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00+0", "2026-01-01T00:00:00+00:0",
    "\uff12\uff10\uff12\uff16-01-01T00:00:00Z", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z", "2026\u201001\u201001T00:00:00Z",
    "2026-01-01T00:00:00Z\u200b", "\ufeff2026-01-01T00:00:00Z", "Thu, 01 Jan 2026 00:00:00 GMT", "01/02/2026", "2026/01/01T00:00:00Z", "P30D", "-P1D",
    "2026-01-01T00:00:00Z/2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z' OR '1'='1", "2026-01-01T00:00:00Z\u0000", "9" * 400, "2026-01-01T00:00:00." + "1" * 100_000 + "ZZ",
]
DAYS_BAD = ["2026-02-30", "2026-02-29", "2026-4-1", "2026-13-01", "2026-00-00", "20260413", "2026-04-13Z", "2026-04-13T", "0000-00-00", "10000-01-01", "+2026-01-01", "2026-04"]


def run(t):
    for text in GOOD:
        t.told("C", f"from {text}", t.call("get_pnl_by_symbol", {"from": text}))
        t.answered("C", f"GET from={text}", t.ask("GET", f"/api/trade-events?from={quote(text)}", t.a.key))
    for text in EITHER:
        answer = t.call("get_pnl_by_symbol", {"from": text})
        code = ((answer.json or {}).get("error") or {}).get("code")
        t.case("C", f"from {text[:40]}", answer.status == 200 and code in (None, -32602), "a result or -32602", answer)
        t.answered("C", f"GET from={text[:40]}", t.ask("GET", f"/api/trade-events?from={quote(text)}", t.a.key), (200, 400))
    for text in BAD:
        t.fault("C", f"from {text[:50]!r}", t.call("get_trade_events", {"from": text}), -32602, 200, "from")
        t.fault("C", f"to {text[:50]!r}", t.call("get_largest_loss_events", {"to": text}), -32602, 200, "to")
        if len(text) < 1000:
            t.refused("C", f"GET to={text!r}", t.ask("GET", f"/api/trade-events?to={quote(text)}", t.a.key), 400, "invalid_request", "to")
    days(t)
    windows(t)


def days(t):
    """A day without a time is for the routes of PnL analysis, as the contract has it."""
    query = {"groupBy": ["symbol"]}
    for text in ("2026-04-13", "2024-02-29", "1970-01-01"):
        t.answered("C", f"the summary from {text}", t.ask("GET", f"/api/pnl-analysis/summary?from={text}", t.a.key))
        t.answered("C", f"the query from {text}", t.ask("POST", "/api/pnl-analysis/query", t.a.key, body=query | {"from": text}))
    for text in DAYS_BAD:
        summary = t.ask("GET", f"/api/pnl-analysis/summary?from={quote(text)}", t.a.key)
        t.refused("C", f"the summary from {text}", summary, 400, "invalid_request", "from")
        asked = t.ask("POST", "/api/pnl-analysis/query", t.a.key, body=query | {"from": text})
        t.refused("C", f"the query from {text}", asked, 400, "invalid_request", "from")
    for tool in ("get_pnl_by_symbol", "get_trade_events", "get_trading_activity_summary", "get_largest_loss_events"):
        t.fault("C", f"{tool} of a day", t.call(tool, {"from": "2026-04-13"}), -32602, 200, "from")
    answer = t.ask("GET", "/api/pnl-analysis/summary?from=2026-04-13&to=2026-04-13", t.a.key)
    window = ((answer.json or {}).get("data") or {}).get("window") or {}
    is_day = (window.get("from"), window.get("to")) == ("2026-04-13T00:00:00.000Z", "2026-04-13T23:59:59.999Z")
    t.case("C", "a day goes to its last millisecond", is_day, "the whole day", answer)


def windows(t):
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    tools = ("get_trading_activity_summary", "get_pnl_by_symbol", "get_trade_events", "get_largest_loss_events")
    for tool in tools:
        t.told("C", f"{tool}: from after to", t.call(tool, {"from": late, "to": early}), "invalid_window")
        t.told("C", f"{tool}: from is to", t.call(tool, {"from": early, "to": early}))
        t.told("C", f"{tool}: from in the future", t.call(tool, {"from": "9999-12-31T23:59:59.999Z"}), "invalid_window")
        t.told("C", f"{tool}: all of time", t.call(tool, {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59.999Z"}))
        t.told("C", f"{tool}: from after to by their zones", t.call(tool, {"from": "2026-01-01T00:00:00-01:00", "to": "2026-01-01T00:59:59+00:00"}), "invalid_window")
        t.told("C", f"{tool}: to at the first instant", t.call(tool, {"to": "1970-01-01T00:00:00Z"}))
    for route in ("/api/trade-events", "/api/trades", "/api/metrics", "/api/pnl-analysis/summary", "/api/forensics/forced-events", "/api/cash-flows",
                  "/api/grafana/pnl", "/api/grafana/nav", "/api/export/events/count", "/api/forensics/largest-loss-events"):
        t.refused("C", f"{route}: from after to", t.ask("GET", f"{route}?from={late}&to={early}", t.a.key), 400, "invalid_window")
        t.answered("C", f"{route}: from is to", t.ask("GET", f"{route}?from={early}&to={early}", t.a.key))
        both = "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59.999Z"
        t.answered("C", f"{route}: all of time", t.ask("GET", f"{route}?{both}", t.a.key))
    for text in ("0", "253402300799999", "1700000000000"):
        t.answered("C", f"grafana from={text} in milliseconds", t.ask("GET", f"/api/grafana/pnl?from={text}", t.a.key), (200, 400))
    for text in ("253402300800000", "-1", "-62135596800001", "9223372036854775807", "9223372036854775808", "9" * 300, "1e12", "1.5", "NaN"):
        t.answered("C", f"grafana from={text[:30]}", t.ask("GET", f"/api/grafana/pnl?from={text}", t.a.key), (200, 400))
    for every in ("1", "1000", "9007199254740993", "9223372036854775807"):
        t.answered("C", f"grafana intervalMs={every}", t.ask("GET", f"/api/grafana/pnl?intervalMs={every}&from=0&to=253402300799999", t.a.key), (200, 400))
