"""H: exports: tables, columns, formats and watermarks that are none, and cells that a spreadsheet would run."""

import csv
import gzip
import hashlib
import io
import json
from urllib.parse import quote

from .world import furnish, records

TABLES = ["events", "trades", "funding", "restatements", "cash_flows", "nav", "balances", "positions", "accounts", "coverage"]
NO_TABLES = ["event", "EVENTS", "events.csv", "pg_user", "pg_catalog.pg_user", "api_keys", "credentials", "events;drop", "events--", "people", "%20", "*", "events,trades", "\u202e", "x" * 5000,
             "information_schema.tables", "..", "null", "counts%00"]
FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "=HYPERLINK(\"http://evil.example\",\"x\")", "=1+1\",\"x", "\uff1d1+1", "%0A=1", ";=1", "\"=1+1", "'=1", "==1", "=\u202e1", "+cmd|x", "-2+3+cmd|x"]
BAD = {
    "format": ["xml", "CSV", "csv,json", "parquet", "../csv", "%00"], "gzip": ["1", "yes", "TRUE", "deflate"], "formulaSafe": ["0", "no", "null"],
    "afterWatermark": ["x", "-1", "1.5", "1e400", "9" * 30, "9223372036854775808", "%00", "NaN", "0x1", "null"],
    "limit": ["1"], "filename": ["x"], "path": ["/etc/x"], "workspaceId": ["x"],
}


def run(t):
    furnish(t)
    for table in NO_TABLES:
        for tail in ("", "/count", "/manifest"):
            answer = t.ask("GET", f"/api/export/{quote(table, safe='%')}{tail}", t.a.key)
            t.refused("H", f"table {table[:24]!r}{tail}", answer, (400, 404))
    for table in TABLES:
        t.answered("H", f"{table} is a table", t.ask("GET", f"/api/export/{table}/count", t.a.key))
        for names in ("nothing", "id,", ",id", "*", "id;", "ID", "id,secret", "workspace_id", "credentials", "id,(select 1)", "id\u202e", "x" * 2000, "id,id" if table != "balances" else "asset,asset"):
            answer = t.ask("GET", f"/api/export/{table}?columns={quote(names)}", t.a.key)
            t.refused("H", f"{table} with columns {names[:20]!r}", answer, 400, ("unknown_column", "repeated_column", "invalid_request"))
    for name, values in BAD.items():
        for value in values:
            t.refused("H", f"{name}={value}", t.ask("GET", f"/api/export/events?{name}={value}", t.a.key), 400, "invalid_request")
    for watermark in ("9223372036854775807", "4611686018427387904"):
        answer = t.ask("GET", f"/api/export/events?afterWatermark={watermark}", t.a.key)
        t.refused("H", f"a watermark beyond the data: {watermark}", answer, 400, "invalid_watermark")
    for table, name in (("accounts", "symbols=BTC-PERP"), ("nav", "eventTypes=trade"), ("balances", "from=2026-01-01T00:00:00Z"), ("positions", "afterWatermark=1"), ("coverage", "symbols=x"), ("funding", "eventTypes=trade")):
        t.refused("H", f"{table} cannot be filtered by {name}", t.ask("GET", f"/api/export/{table}?{name}", t.a.key), 400, "invalid_filter")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        t.refused("H", f"{method} of an export", t.ask(method, "/api/export/events", t.a.key), 405, "method_not_allowed")
    for line in ((("range", "bytes=0-10"),), (("if-none-match", "*"),), (("accept", "text/html"),), (("te", "trailers"),), (("te", "trailers, x" * 200),)):
        answer = t.ask("GET", "/api/export/accounts", t.a.key, line)
        t.answered("H", f"an export with {line}", answer, (200, 304))
    whole(t)
    formulas(t)


def whole(t):
    """A file is what its manifest and its count say."""
    if records(t, t.a):
        pass
    for table in TABLES:
        lines = t.ask("GET", f"/api/export/{table}?format=jsonl", t.a.key)
        body = lines.body.decode().splitlines()
        end = json.loads(body[-1])["_end"]
        digest = hashlib.sha256("".join(line + "\n" for line in body[:-1]).encode()).hexdigest()
        t.case("H", f"{table}: the last line's digest and rows", (end["sha256"], end["rows"]) == (digest, len(body) - 1), end, digest)
        packed = t.ask("GET", f"/api/export/{table}?format=json&gzip=true", t.a.key)
        rows = json.loads(gzip.decompress(packed.body))["data"]
        t.case("H", f"{table}: gzip is whole", rows["rowCount"] == len(rows["rows"]), "rowCount", rows["rowCount"])
        t.case("H", f"{table} has nothing of a stranger", not any(one.encode() in lines.body for one in [t.b.id, *t.b.accounts]), "ours alone", lines)


def formulas(t):
    """Names that a spreadsheet would run, in every cell that a name reaches."""
    if not t.a.accounts:
        return
    account = t.a.accounts[0]
    for text in FORMULAS:
        t.must("PATCH", f"/api/accounts/{account}", t.a.key, {"name": text, "tags": [text[:50]]})
        for table in ("accounts", "events"):
            answer = t.ask("GET", f"/api/export/{table}?format=csv", t.a.key)
            bad = [cell for row in csv.reader(io.StringIO(answer.body.decode("utf-8"), newline="")) for cell in row if runs(cell)]
            t.case("H", f"{table} with the name {text!r}", answer.status == 200 and not bad, "no formula", bad[:5])
        answer = t.ask("GET", "/api/grafana/account-status?format=csv", t.a.key)
        bad = [cell for row in csv.reader(io.StringIO(answer.body.decode("utf-8"), newline="")) for cell in row if runs(cell)]
        t.case("H", f"a dashboard's table with the name {text!r}", answer.status == 200 and not bad, "no formula", bad[:5])
        told = t.ask("GET", f"/api/accounts/{account}", t.a.key)
        t.case("H", f"JSON leaves {text!r} as it is", (told.header("content-type") or "").startswith("application/json") and told.status == 200, "json", told)
    t.must("PATCH", f"/api/accounts/{account}", t.a.key, {"name": "Main", "tags": []})


def runs(cell):
    """Whether a spreadsheet takes a cell for a formula: not when it is a number."""
    try:
        float(cell)
        return False
    except ValueError:
        return cell[:1] in ("=", "+", "-", "@", "\t", "\r")
