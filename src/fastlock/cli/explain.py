"""``fastlock explain CODE``: what a finding means, with an example and the fix."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fastlock import explain
from fastlock.cli import complain, say
from fastlock.findings import CODES


def main(argv: Sequence[str]) -> int:
    """Print the explanation of one code, in any case of letters."""
    parser = argparse.ArgumentParser(prog="fastlock explain", description=__doc__.replace("`", ""), allow_abbrev=False)
    parser.add_argument("code", metavar="CODE", help="such as FL001")
    code = parser.parse_args(argv).code.upper()
    if code not in CODES:
        return complain(f"fastlock explain: there is no code {code!r}, only {', '.join(CODES)}")
    say(explain.explain(code).rstrip("\n"))
    return 0
