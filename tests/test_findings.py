"""Findings, snapshots and errors: their JSON, their fingerprints, and how core events become them."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import types
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlock import assemble, errors
from fastlock.findings import CODES, TIERS, LockFact, Site
from fastlock.reporting import jsonl, logs
from finding_events import EVENTS, NOW, SECOND, SITES, agent, edge, event, lock

SCHEMA = Path(__file__).parents[1] / "docs" / "finding.schema.json"


@pytest.fixture(scope="module")
def validator():
    """The published schema, with its formats checked."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


class Looked(list):
    """Raw facts that know which of them have been looked at."""

    def __init__(self, facts):
        super().__init__(facts)
        self.at = set()

    def __getitem__(self, at):
        self.at.add(at)
        return super().__getitem__(at)

    def __iter__(self):
        return (self[at] for at in range(len(self)))


def test_a_text_looks_only_at_the_excerpt(sources):
    """A draft is rendered without a look at what its excerpt leaves out, and whole() makes the same finding of it all."""
    number = 1000
    ends = [*range(12), number - 1]
    every = {
        "agents": [agent(n, "worker") for n in range(number)],
        "locks": [lock(n, "pool", owner=n, held_at=1) for n in range(number)],
        "edges": [edge(n, n, (n + 1) % number, 1, 2) for n in range(number)],
    }
    raw = {kind: Looked(facts) for kind, facts in every.items()}
    excerpt = {kind: [facts[at] for at in ends] for kind, facts in every.items()}
    excerpt["locks"].append(every["locks"][12])  # what the twelfth waits for
    draft = assemble.draft_from_event(event(excerpt=excerpt, **raw), site=sources())
    text = str(draft)
    assert text.count("… and 988 more") == 2
    assert [facts.at for facts in raw.values()] == [set(), set(), set()]
    whole = draft.whole()
    assert (len(whole.agents), len(whole.locks), len(whole.edges), str(whole)) == (number, number, number, text)
    assert whole.fingerprint == assemble.finding_from_event(event(**every), site=sources()).fingerprint
    assert draft.edges[2:4] == whole.edges[2:4]


def test_to_dict_has_the_keys_of_the_contract(sources):
    """Every level of a finding's dict has exactly the documented keys."""
    stack = [Site("/srv/app/main.py", 3, "main", "run()")]
    facts = assemble.finding_from_event(event(), site=sources(), stacks={1: stack}).to_dict()
    assert (
        list(facts)
        == (
            "code title tier fingerprint count detected_at pid process agents locks edges clears behind reasons explanation fix"
        ).split()
    )
    assert list(facts["agents"][0]) == "id kind name native_id loop stack".split()
    assert facts["agents"][0]["stack"] == [
        {"file": "/srv/app/main.py", "line": 3, "function": "main", "text": "run()"}
    ]
    assert facts["locks"][0] == {
        "id": 1,
        "name": "rates_lock",
        "class": "rates_lock",
        "kind": "Lock",
        "created": {"file": "/srv/app/pool.py", "line": 31},
    }
    assert facts["edges"][1] == {
        "agent": 2,
        "holds": 2,
        "waits": 1,
        "mode": "exclusive",
        "held_at": {"file": "/srv/app/export.py", "line": 120, "function": "export_all"},
        "wanted_at": {"file": "/srv/app/export.py", "line": 131, "function": "export_all"},
        "since_s": 3.5,
    }
    assert facts["detected_at"] == "2025-11-04T23:47:12.500+00:00"
    assert facts["fix"] == "in export.py:120 take rates_lock first, or release ledger_lock before line 131"


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_fits_the_schema(code, sources, validator):
    """A finding of each code is valid JSON for the schema, and has an explanation and a fix."""
    finding = assemble.finding_from_event(EVENTS[code], site=sources())
    validator.validate(json.loads(jsonl.encode(finding)))
    assert finding.title == CODES[code]
    assert finding.explanation.endswith(".")
    assert finding.fix and not finding.fix.endswith(".")


@pytest.mark.parametrize("code", sorted(CODES))
def test_unknown_sites_and_stacks_fit_the_schema(code, validator):
    """What is not known is null in the JSON and stays valid, for each code."""
    finding = assemble.finding_from_event(EVENTS[code], site=lambda number: None)
    facts = finding.to_dict()
    validator.validate(facts)
    assert facts["edges"][0]["wanted_at"] is None
    assert facts["locks"][0]["created"] is None


@pytest.mark.parametrize("path", ["", "agents", "locks", "edges"])
def test_schema_is_strict(path, sources, validator):
    """A key that the schema does not know is an error at every level."""
    facts = assemble.finding_from_event(event(), site=sources()).to_dict()
    (facts[path][0] if path else facts)["surprise"] = 1
    assert not validator.is_valid(facts)


def test_schema_knows_all_codes_and_tiers(validator):
    """The schema's enumerations are the code's own tables."""
    assert validator.schema["properties"]["code"]["enum"] == list(CODES)
    assert sorted(validator.schema["properties"]["tier"]["enum"]) == sorted(TIERS)


def test_finding_is_frozen_and_counts_by_replacement(sources):
    """A finding cannot be changed, and a higher count is a new one with the same fingerprint."""
    finding = assemble.finding_from_event(event(), site=sources())
    with pytest.raises(FrozenInstanceError):
        finding.count = 2
    again = replace(finding, count=finding.count + 1)
    assert (finding.count, again.count, again.fingerprint) == (1, 2, finding.fingerprint)
    assert pickle.loads(pickle.dumps(again)) == again


def test_fingerprint_is_the_same_on_every_interpreter(sources):
    """The deadly embrace has one pinned fingerprint, whatever runs the test."""
    finding = assemble.finding_from_event(event(), site=sources())
    assert finding.fingerprint[:12] == "228c683aceac"


@given(start=st.integers(0, 4), ids=st.permutations(range(1, 6)))
def test_fingerprint_ignores_start_and_ids(start, ids):
    """Where the circle starts and which numbers its parts have makes no difference."""
    sites = {n: (f"/srv/m{n % 2}.py", n, f"f{n}", 1) for n in range(1, 11)}

    def ring(numbers, first):
        agents = [agent(number) for number in numbers]
        locks = [lock(numbers[at], f"lock{at}", owner=numbers[at]) for at in range(5)]
        edges = [edge(numbers[at], numbers[at], numbers[(at + 1) % 5], at + 1, at + 6) for at in range(5)]
        raw = event(agents=agents, locks=locks, edges=edges[first:] + edges[:first])
        return assemble.finding_from_event(raw, site=sites.get).fingerprint

    assert ring(ids, start) == ring([1, 2, 3, 4, 5], 0)


def test_fingerprint_ignores_lines_paths_and_qualified_names(sources):
    """Edits above the lines, another directory and a version without qualified names leave the fingerprint."""
    moved = {
        number: (file.replace("/srv/app", "/opt/x"), line + 7, function.rpartition(".")[2], first + 7, text)
        for number, (file, line, function, first, text) in SITES.items()
    }
    raw = event()
    raw["locks"][0].update({"name": "Lock@pool.py:31", "class": "pool.py:31"})
    later = copy.deepcopy(raw)
    later["locks"][0].update({"name": "Lock@pool.py:38", "class": "pool.py:38"})
    before = assemble.finding_from_event(raw, site=sources()).fingerprint
    assert assemble.finding_from_event(later, site=sources(moved)).fingerprint == before


@pytest.mark.parametrize(
    "change",
    [
        {3: ("/srv/app/export.py", 120, "export_some", 110, "with ledger_lock:")},
        {4: ("/srv/app/export.py", 131, "export_all", 110, "with rates_lock:")},
    ],
)
def test_fingerprint_tells_other_code_apart(change, sources):
    """Another function or another line of source is another defect."""
    before = assemble.finding_from_event(event(), site=sources()).fingerprint
    assert assemble.finding_from_event(event(), site=sources({**SITES, **change})).fingerprint != before


def test_fingerprint_tells_classes_and_codes_apart(sources):
    """Another lock class or another code is another defect."""
    raw = event()
    raw["locks"][1]["class"] = "audit_lock"
    findings = [assemble.finding_from_event(each, site=sources()) for each in (event(), raw, event("FL010"))]
    assert len({finding.fingerprint for finding in findings}) == 3


def test_long_wait_ignores_what_is_held_besides(sources):
    """In a long wait the waiter's other locks and the holder's own wait do not make another defect."""
    plain = event("FL020", edges=[edge(1, None, 2, 0, 2), edge(2, 2, None, 3, 0)])
    busy = event("FL020", edges=[edge(1, 1, 2, 1, 2), edge(2, 2, 1, 3, 4)])
    one, two = (assemble.finding_from_event(raw, site=sources()).fingerprint for raw in (plain, busy))
    assert one == two


def test_ages_are_taken_at_the_given_moment(sources):
    """since_s and the time left follow the clock that is passed, and never turn negative."""
    raw = event(edges=[edge(1, 1, 2, 1, 2, left_s=2.5), edge(2, 2, 1, 3, 4)])
    later = assemble.finding_from_event(raw, site=sources(), now_ns=NOW + SECOND)
    assert (later.edges[0].since_s, later.edges[0].deadline_s) == (5.0, 1.5)
    early = assemble.finding_from_event(raw, site=sources(), now_ns=NOW - 60 * SECOND)
    assert early.edges[0].since_s == 0.0


def test_snapshot_has_the_keys_of_the_contract(sources):
    """A snapshot's dict has exactly the documented keys, with ages and time left in seconds."""
    waits = [
        {
            "agent": 1,
            "lock": 2,
            "what": "Lock.acquire",
            "mode": "exclusive",
            "owner": 2,
            "since_ns": NOW - 3 * SECOND,
            "deadline_ns": NOW + SECOND,
            "wanted_at": 2,
        }
    ]
    table = {
        "agents": [{**agent(1), "holds": [1], "waits": 2}],
        "locks": [lock(2, "ledger_lock", owner=2, held_at=3)],
        "waits": waits,
    }
    finding = assemble.finding_from_event(event(), site=sources())
    snapshot = assemble.snapshot_from_table(
        table, site=sources(), level="detect", raw_locks=4, findings=[finding], now_ns=NOW
    )
    facts = snapshot.to_dict()
    assert set(facts) == set("pid process level captured_at raw_locks agents locks waits findings".split())
    assert facts["agents"] == [
        {"id": 1, "kind": "thread", "name": "worker", "native_id": 4101, "loop": None, "holds": [1], "waits": 2}
    ]
    assert set(facts["locks"][0]) == set("id name class kind owner readers waiters created held_at".split())
    assert facts["locks"][0]["held_at"] == {"file": "/srv/app/export.py", "line": 120, "function": "export_all"}
    assert (facts["waits"][0]["since_s"], facts["waits"][0]["deadline_s"]) == (3.0, 1.0)
    assert facts["findings"] == [finding.to_dict()]
    assert (facts["level"], facts["raw_locks"]) == ("detect", 4)
    json.dumps(facts)


def test_lock_timeout_names_owner_and_site(sources):
    """The error of a lock's own limit tells lock, limit, owner and where the owner took it."""
    raw = event("timeout", edges=[edge(1, None, 2, 0, 2, age_s=2.5, left_s=0), edge(2, 2, None, 3, 0)])
    error = assemble.lock_timeout_from_event(raw, site=sources())
    assert (
        str(error)
        == 'ledger_lock not acquired within 2.5s: held by thread "exporter" since export.py:120 (with ledger_lock:)'
    )
    assert (error.lock, error.owner, error.timeout_s) == ("ledger_lock", 'thread "exporter"', 2.5)
    assert error.held_at == Site("/srv/app/export.py", 120, "export_all", "with ledger_lock:")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.held_at) == (str(error), error.held_at)


def test_lock_timeout_with_nobody_known(sources):
    """A limit that passed without a known owner says so."""
    raw = event("timeout", locks=[lock(2, "slots", "Semaphore")], edges=[edge(1, None, 2, 0, 2, left_s=0)])
    error = assemble.lock_timeout_from_event(raw, site=sources(), timeout_s=1)
    assert str(error) == "slots not acquired within 1.0s: its owner is not known"
    assert (error.owner, error.held_at) == (None, None)


@pytest.mark.parametrize(
    ("error", "stdlib"),
    [
        (errors.DeadlockError, RuntimeError),
        (errors.LockOrderError, RuntimeError),
        (errors.LockTimeout, TimeoutError),
        (errors.ConfigError, ValueError),
    ],
)
def test_errors_are_also_the_stdlib_ones(error, stdlib):
    """A caller that knows only threading's exceptions catches ours, and one clause catches all of ours."""
    assert issubclass(error, stdlib) and issubclass(error, errors.FastlockError)
    assert str(error("what happened")) == "what happened"


def test_deadlock_error_carries_its_finding_through_pickle(sources):
    """The finding of an error survives the way out of a process pool."""
    finding = assemble.finding_from_event(event(), site=sources())
    error = pickle.loads(pickle.dumps(errors.DeadlockError.from_finding(finding)))
    assert error.finding == finding
    assert str(error) == finding.summary()
    assert "\n" not in str(error)


def test_jsonl_appends_one_line_each(tmp_path, sources):
    """Each finding becomes one line at the end of the file, whatever characters its names have."""
    path = tmp_path / "findings.jsonl"
    path.write_bytes(b'{"before": true}\n')
    finding = assemble.finding_from_event(event(agents=[agent(1, "größe\n\udc80"), agent(2)]), site=sources())
    for count in (1, 2):
        jsonl.append(path, replace(finding, count=count))
    lines = path.read_bytes().splitlines()
    assert [json.loads(line).get("count") for line in lines] == [None, 1, 2]
    assert json.loads(lines[1])["agents"][0]["name"] == "größe\n\udc80"


def test_jsonl_reports_a_file_that_cannot_be_written(tmp_path, sources):
    """A path that cannot be opened is an OSError that names it."""
    finding = assemble.finding_from_event(event(), site=sources())
    with pytest.raises(OSError, match="missing"):
        jsonl.append(tmp_path / "missing" / "findings.jsonl", finding)


def test_jsonl_reports_a_full_disk(sources):
    """A line that does not fit is an OSError and not silence."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="No space"):
        jsonl.append("/dev/full", assemble.finding_from_event(event(), site=sources()))


def test_jsonl_reports_a_line_cut_short(tmp_path, sources, monkeypatch):
    """A write that took only the beginning of the line is an OSError."""
    monkeypatch.setattr(jsonl.os, "write", lambda descriptor, data: 1)
    with pytest.raises(OSError, match="only in part"):
        jsonl.append(tmp_path / "findings.jsonl", assemble.finding_from_event(event(), site=sources()))


@pytest.mark.parametrize(("tier", "level"), [("proven", "ERROR"), ("possible", "WARNING"), ("measured", "WARNING")])
def test_logs_have_fields(tier, level, sources, caplog):
    """A record has the finding's one-line summary, its fields, and a level by its tier."""
    finding = assemble.finding_from_event(event(tier=tier), site=sources())
    assert logs.emit(finding)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("fastlock", level)
    assert record.getMessage() == finding.summary()
    assert record.fastlock_finding == finding.to_dict()
    assert (record.fastlock_code, record.fastlock_fingerprint) == ("FL001", finding.fingerprint)


def test_logs_do_not_import_logging(sources, monkeypatch):
    """A program that has not loaded logging does not get it from a finding; one half loaded counts as absent."""
    finding = assemble.finding_from_event(event(), site=sources())
    monkeypatch.setitem(sys.modules, "logging", types.ModuleType("logging"))
    assert not logs.emit(finding)
    monkeypatch.delitem(sys.modules, "logging")
    assert not logs.emit(finding)
    assert "logging" not in sys.modules


def test_holders_are_distinct():
    """An owner that also reads is one holder, the first."""
    assert LockFact(1, "rw", "rw", "RWLock", owner=7, readers=(3, 7)).holders == (7, 3)
