"""What a run knows: two workspaces, the tally, and what is demanded of every answer whatever was asked."""

import json
import pathlib
import re
import time
import urllib.request
import uuid

from .wire import Broken, Client, Place

JSON = ("content-type", "application/json")
MODERN = "2026-07-28"
# None of these words has a reason to be in an answer.
LEAK = re.compile(
    r"panicked|RUST_BACKTRACE|stack backtrace|sqlx|tokio|hyper::|postgres(ql)?://|\bPgError|SQLSTATE|pg_catalog"
    r"|relation \"|violates|duplicate key|syntax error at|current transaction|\.rs:\d+|/src/|/root/|/home/|/var/"
    r"|thread '|unwrap\(\)|\bSELECT .* FROM\b|INSERT INTO|kv_live_[0-9A-Za-z]{30,}|whsec_[0-9A-Za-z]{10,}",
)
SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
REQUEST_ID = re.compile(r"^[0-9A-Za-z._-]{1,64}$")


def documented_codes():
    """The codes of docs/errors.md, when the script lies in its repository; None otherwise."""
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "errors.md"
    if not page.is_file():
        return None
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page.read_text(encoding="utf-8"), re.M)
    return {(code, int(status)) for code, status in rows}


class Workspace:
    def __init__(self, registered):
        self.id, self.key, self.key_id = registered["workspaceId"], registered["apiKey"], registered["keyId"]
        self.name = registered["name"]
        self.accounts, self.things = [], {}


class Trial:
    """One run against one server."""

    def __init__(self, url, ready=None):
        self.place = Place(url)
        self.client = Client(self.place)
        self.ready = ready or {}
        self.counts, self.failures, self.skipped = {}, [], []
        self.answers, self.codes = 0, documented_codes()
        self.mark = uuid.uuid4().hex[:8]
        self.a, self.b = (self.register(f"hostile-{side}-{self.mark}") for side in "ab")

    # Asking.

    def ask(self, method, path, key=None, headers=(), body=None, patient=True):
        """An answer to a well-framed request. A 429 is waited out unless the case is about limits."""
        headers = list(headers)
        if key:
            headers.append(("authorization", f"Bearer {key}"))
        if body is not None and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(JSON)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        while True:
            answer = self.client.ask(method, path, headers, body)
            if answer.status != 429 or not patient:
                self.demand(f"{method} {str(path)[:120]}", answer, path)
                return answer
            time.sleep(int(answer.header("retry-after") or 1))

    def rpc(self, body, key=None, headers=()):
        return self.ask("POST", "/mcp", key or self.a.key, headers, body)

    def call(self, tool, arguments, key=None, headers=()):
        """`arguments` may be JSON text, for what `json.dumps` does not write."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        body = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%s,"arguments":%s}}'
        return self.rpc(body % (json.dumps(tool), text), key, headers)

    def register(self, name):
        answer = self.ask("POST", "/api/agents/register", body={"name": name})
        if answer.status != 201:
            raise SystemExit(f"no workspace could be registered: {answer!r}")
        return Workspace(answer.json["data"])

    def must(self, method, path, key, body=None, headers=()):
        """Something that a later case needs; what it answers is not the case."""
        answer = self.ask(method, path, key, headers, body)
        if answer.status >= 300:
            raise Broken(f"{method} {path} was to succeed: {answer!r}")
        return answer.json["data"]

    def child(self, workspace, **wanted):
        wanted.setdefault("name", "hostile-child")
        return self.must("POST", "/api/keys/self/children", workspace.key, wanted)

    def paper_keys(self):
        """Read keys of a paper exchange, when there is one."""
        url = self.ready.get("paperExchangeUrl")
        if not url:
            return []
        with urllib.request.urlopen(f"{url}/paper", timeout=10) as reply:
            return json.load(reply)["accounts"]

    # Judging.

    def case(self, group, name, is_good, expected="", got=""):
        good, total = self.counts.get(group, (0, 0))
        self.counts[group] = (good + bool(is_good), total + 1)
        if not is_good:
            self.failures.append(group)
            print(f"FAILED {group} | {name} | expected {expected} | got {str(got)[:600]}", flush=True)
        return bool(is_good)

    def skip(self, group, why):
        self.skipped.append((group, why))

    def refused(self, group, name, answer, status, code=None, place=None):
        """An error of the REST surface: its status, its code, the place of its fault."""
        data = answer.json or {}
        statuses = status if isinstance(status, tuple) else (status,)
        is_good = answer.status in statuses and data.get("success") is False
        codes = code if isinstance(code, tuple) else (code,)
        is_good = is_good and (code is None or data.get("code") in codes)
        if place is not None:
            faults = (data.get("details") or {}).get("errors") or []
            is_good = is_good and any(fault["path"].startswith(place) for fault in faults)
        return self.case(group, name, is_good, f"{status} {code or ''} {place or ''}", repr(answer))

    def fault(self, group, name, answer, code, status=200, place=None):
        """An error of JSON-RPC."""
        data = answer.json
        error = data.get("error") if isinstance(data, dict) else None
        codes = code if isinstance(code, tuple) else (code,)
        statuses = status if isinstance(status, tuple) else (status,)
        is_good = isinstance(error, dict) and answer.status in statuses and error.get("code") in codes
        is_good = is_good and data.get("jsonrpc") == "2.0" and "result" not in data and bool(error.get("message"))
        if place is not None:
            is_good = is_good and ((error or {}).get("data") or {}).get("path", "").startswith(place)
        return self.case(group, name, is_good, f"{status} {code} {place or ''}", repr(answer))

    def answered(self, group, name, answer, status=200):
        statuses = status if isinstance(status, tuple) else (status,)
        return self.case(group, name, answer.status in statuses, status, repr(answer))

    def told(self, group, name, answer, code=None):
        """A tool's answer: None, a success; a code, the broken rule of that name."""
        result = (answer.json or {}).get("result") or {}
        text = (result.get("content") or [{}])[0].get("text", "")
        structured = result.get("structuredContent")
        is_good = answer.status == 200 and structured is not None and json.loads(text or "null") == structured
        if code:
            is_good = is_good and result.get("isError") is True and structured["error"]["code"] == code
        else:
            is_good = is_good and result.get("isError") is False
        return self.case(group, name, is_good, code or "a result", repr(answer))

    def demand(self, name, answer, path="", is_ours=True):
        """Group K: what holds for every answer. `is_ours` is False where HTTP itself was unreadable and the
        socket's library answers in front of every layer: then there is no body to be in a shape."""
        self.answers += 1
        faults = []
        if answer.status >= 500:
            faults.append(f"a {answer.status}")
        if LEAK.search(self.without_secrets(answer, path)):
            faults.append(f"a leak: {LEAK.search(self.without_secrets(answer, path)).group(0)!r}")
        if not is_ours and not answer.body:
            return self._demanded(name, answer, faults)
        if not REQUEST_ID.match(answer.header("x-request-id") or ""):
            faults.append("no x-request-id")
        faults += [f"{key} is {answer.header(key)}" for key, value in SECURITY.items() if answer.header(key) != value]
        if "frame-ancestors 'none'" not in (answer.header("content-security-policy") or ""):
            faults.append("no content-security-policy")
        if answer.header("cache-control") is None:
            faults.append("no cache-control")
        if answer.status >= 400 and not name.startswith("HEAD "):
            faults += self._shape(answer, path)
        return self._demanded(name, answer, faults)

    def _demanded(self, name, answer, faults):
        good, total = self.counts.get("K", (0, 0))
        self.counts["K"] = (good + (not faults), total + 1)
        if faults:
            self.failures.append("K")
            print(f"FAILED K | {name} | expected the shape of every answer | got {faults}: {answer!r}", flush=True)

    def without_secrets(self, answer, path):
        """Answers that show a secret once are the only ones that may hold one."""
        text = answer.body[:200_000].decode("utf-8", "replace")
        if answer.status in (200, 201) and "Store th" in text:
            return ""
        # Documents speak of postgres and of places in the source; they hold nobody's data.
        is_page = str(path).split("?")[0] in ("/docs", "/openapi.json", "/openapi.yaml", "/llms.txt")
        return "" if is_page or answer.status in (200, 201) and "whsec_" in text else text

    def _shape(self, answer, path):
        data = answer.json
        if not (answer.header("content-type") or "").startswith("application/json") or not isinstance(data, dict):
            return ["an error that is no JSON object"]
        if "jsonrpc" in data:
            is_good = str(path).startswith("/mcp") and set(data) <= {"jsonrpc", "id", "error"} and "error" in data
            return [] if is_good else ["no JSON-RPC error"]
        faults = []
        if data.get("success") is not False or not isinstance(data.get("error"), str) or not data.get("code"):
            faults.append("not the contract's error")
        if set(data) - {"success", "error", "code", "details", "requestId"}:
            faults.append(f"unknown fields {sorted(data)}")
        if data.get("requestId") != answer.header("x-request-id"):
            faults.append("requestId is not the header's")
        if self.codes is not None and (data.get("code"), answer.status) not in self.codes:
            faults.append(f"undocumented: {data.get('code')} with {answer.status}")
        if answer.status == 401 and "Bearer" not in (answer.header("www-authenticate") or ""):
            faults.append("401 without www-authenticate")
        if answer.status == 429 and not (answer.header("retry-after") or "").isdigit():
            faults.append("429 without retry-after")
        return faults
