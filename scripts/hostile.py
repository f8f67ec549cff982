#!/usr/bin/env python3
"""Several hundred hostile requests against a running server; 0 may fail. `scripts/README.md` says how to run it."""

import argparse
import importlib
import json
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from attacks.trial import Trial  # noqa: E402

GROUPS = {
    "A": ("envelopes", "envelopes of JSON-RPC"),
    "B": ("arguments", "arguments of tools and routes"),
    "C": ("dates", "dates and windows"),
    "D": ("tenants", "tenants, scopes, credentials"),
    "E": ("cursors", "cursors"),
    "F": ("http", "headers and HTTP"),
    "G": ("ssrf", "addresses of webhooks"),
    "H": ("exports", "exports"),
    "I": ("powers", "automations, keys, people"),
    "J": ("states", "two who write, asking twice"),
}
ALWAYS = "what holds for every answer (an answer is a case)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="such as http://127.0.0.1:8080")
    parser.add_argument("--ready-file", help="what `codash dev` wrote: its paper exchange gives accounts with records")
    parser.add_argument("--only", default="".join(GROUPS), help="groups, such as ABF")
    args = parser.parse_args()
    ready = json.loads(pathlib.Path(args.ready_file).read_text()) if args.ready_file else None
    started = time.monotonic()
    trial = Trial(args.url, ready)
    for letter in args.only:
        begun, before = time.monotonic(), trial.answers
        try:
            importlib.import_module(f"attacks.{GROUPS[letter][0]}").run(trial)
        except Exception:
            # A group that cannot be run to its end proves nothing.
            trial.case(letter, "the group runs to its end", False, "no exception", traceback.format_exc())
        print(f"  {letter}: {trial.answers - before} answers, {time.monotonic() - begun:.1f} s", flush=True)
    return report(trial, time.monotonic() - started)


def report(trial, seconds):
    names = {letter: title for letter, (_, title) in GROUPS.items()} | {"K": ALWAYS}
    for group, why in trial.skipped:
        print(f"skipped {group}: {why}")
    cases = 0
    for letter, (good, total) in sorted(trial.counts.items()):
        cases += total if letter != "K" else 0
        print(f"{letter} {names[letter]:<52} {good:>5} of {total:>5} good, {total - good} failed")
    print(f"{cases} cases, {trial.answers} answers, {len(trial.failures)} failed, {seconds:.0f} s")
    return 1 if trial.failures else 0


if __name__ == "__main__":
    sys.exit(main())
