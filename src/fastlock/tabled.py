"""Findings in the table that readers outside see: as JSON, for nobody can ask the process when it matters."""

from __future__ import annotations

from fastlock import _shown
from fastlock.findings import Finding, quoted
from fastlock.kept import FindingList
from fastlock.lean import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_FINDINGS = 200
MOST_BYTES = 64 << 10  # of one finding; a longer one is told without its stacks

_known: dict[str, tuple[str, bytes]] = {}  # tier and JSON by fingerprint: what a finding is counts once, how often each time


def show(findings: FindingList) -> None:
    """Put the newest findings into the table, each with its count; on the reporting thread alone, for it keeps what it has made."""
    newest = findings[-MOST_FINDINGS:]
    rows = [(finding.count, _json_of(finding)) for finding in newest]
    for fingerprint in _known.keys() - {finding.fingerprint for finding in newest}:
        del _known[fingerprint]
    _shown.put_findings(rows, findings.dropped + len(findings) - len(newest))


def _json_of(finding: Finding) -> bytes:
    tier, text = _known.get(finding.fingerprint, ("", b""))
    if tier != finding.tier:
        told = finding.told  # of a long circle, what tells all there is to tell
        facts = replace(finding, agents=told.agents, locks=told.locks, edges=told.edges).to_dict()
        text = json_text(facts).encode("ascii")
        if len(text) > MOST_BYTES:
            facts["agents"] = [{**agent, "stack": []} for agent in facts["agents"]]
            text = json_text(facts).encode("ascii")
        _known[finding.fingerprint] = (finding.tier, text)
    return text


def json_text(value: Any) -> str:
    """Return plain builtins as JSON; ASCII. The module json is not imported for it: that takes some milliseconds of each start."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return f"{{{','.join(f'{quoted(key)}:{json_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(json_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
