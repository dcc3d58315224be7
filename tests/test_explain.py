"""``fastlock explain``: every code has its text, and its examples are Python."""

from __future__ import annotations

import ast
import textwrap

import pytest

from fastlock.explain import EXPLANATIONS, explain
from fastlock.findings import CODES, TIERS


def test_every_code_is_explained():
    """The explanations and the table of codes name the same codes, in one order."""
    assert list(EXPLANATIONS) == list(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_text_has_all_parts(code):
    """A text begins with code, title and meaning and has every section, in readable width."""
    text = explain(code)
    about = EXPLANATIONS[code]
    assert text.startswith(f"{code} {CODES[code]}\n\n")
    assert about.meaning in " ".join(text.split())
    titles = [line for line in text.splitlines()[3:] if line and not line.startswith(" ")]
    sections = ["Why it happens", "It looks like this", "The fix", "How sure it is", "Related"]
    assert [title for title in titles if title in sections] == sections
    assert max(map(len, text.splitlines())) <= 92
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("code", sorted(CODES))
def test_meaning_is_one_sentence(code):
    """The meaning is a single sentence that a reader in a hurry can take in."""
    meaning = EXPLANATIONS[code].meaning
    assert meaning.endswith(".")
    assert ". " not in meaning


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("part", ["example", "fix"])
def test_code_is_python(code, part):
    """Examples and fixes are Python that compiles, and they differ."""
    source = textwrap.dedent(getattr(EXPLANATIONS[code], part))
    assert ast.parse(source).body
    assert EXPLANATIONS[code].example != EXPLANATIONS[code].fix


@pytest.mark.parametrize("code", sorted(CODES))
def test_tier_is_told(code):
    """The text on certainty begins with a tier of the contract."""
    assert EXPLANATIONS[code].tier.split(":")[0] in TIERS


@pytest.mark.parametrize("code", sorted(CODES))
def test_related_codes_exist(code):
    """A text refers to other existing codes, each once."""
    related = EXPLANATIONS[code].related
    assert related and set(related) <= set(CODES) - {code}
    assert len(set(related)) == len(related)


@pytest.mark.parametrize("written", ["fl001", " FL001 ", "Fl001"])
def test_code_may_be_written_loosely(written):
    """Case and surrounding blanks of a code do not matter."""
    assert explain(written) == explain("FL001")


@pytest.mark.parametrize("unknown", ["", "FL999", "deadlock"])
def test_unknown_code_is_a_key_error(unknown):
    """What is no code is a KeyError, which the command line turns into its own message."""
    with pytest.raises(KeyError):
        explain(unknown)
