"""Side by side with threading of the running version: the same question has the same outcome, errors and texts included."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import fastlock

NAMES = ["Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"]
ARGUMENTS: dict[str, tuple[Any, ...]] = {"Barrier": (2,)}


def make(module: ModuleType, name: str) -> Any:
    """Return a fresh primitive of a module."""
    return getattr(module, name)(*ARGUMENTS.get(name, ()))


def outcome(call: Callable[[], Any], with_text: bool = True) -> tuple[str, str]:
    """Return what a call did: the type and the text of its value or error, without addresses."""
    try:
        value = call()
    except Exception as error:
        value = error
    return type(value).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(value)) if with_text else ""


def both(question: str, *, with_text: bool = True, **names: Any) -> None:
    """Ask both modules, as `m`, and compare."""
    theirs, ours = (
        outcome(lambda module=module: eval(question, {"m": module, **names}), with_text) for module in (threading, fastlock)
    )
    assert ours == theirs, question


TIMEOUTS = ["-1", "-1.0", "0", "0.0", "0.001", "1e-12", "True", "-2", "-0.5", "-1e300", "1e300", "1e10", "10**12", "10**400",
            "-10**400", "float('nan')", "float('inf')", "-float('inf')", "None", "'1'", "b''", "[]", "1j",
            "__import__('decimal').Decimal('0.001')", "__import__('fractions').Fraction(1, 1000)", "m.TIMEOUT_MAX"]  # fmt: skip
TIMEOUTS = [text.replace("m.TIMEOUT_MAX", repr(threading.TIMEOUT_MAX)) for text in TIMEOUTS]


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("name", ["Lock", "RLock"])
@pytest.mark.parametrize("blocking", ["True", "False", "1", "0", "None"])
def test_acquire_of_a_free_lock(name: str, blocking: str, timeout: str) -> None:
    """Every pair of blocking and timeout is taken or refused alike, by position and by keyword."""
    both(f"m.{name}().acquire({blocking}, {timeout})")
    both(f"m.{name}().acquire(timeout={timeout}, blocking={blocking})")


SHORT = [text for text in TIMEOUTS if text not in {"True", "None", "-1", "-1.0", "float('inf')", "float('nan')"}]
SHORT.remove(repr(threading.TIMEOUT_MAX))


@pytest.mark.parametrize("timeout", SHORT)
def test_timeouts_of_waits_that_end_in_vain(timeout: str) -> None:
    """Waits with every short, negative or impossible timeout end alike."""
    if "-" not in timeout:  # of these one waits for ever
        both(f"(lambda lock: (lock.acquire(), lock.acquire(True, {timeout}))[1])(m.Lock())")
    both(f"m.Event().wait({timeout})")
    both(f"(lambda c: (c.acquire(), c.wait({timeout}))[1])(m.Condition())")
    both(f"(lambda c: (c.acquire(), c.wait_for(lambda: 0, {timeout}))[1])(m.Condition())")
    if "10**400" not in timeout and "Decimal" not in timeout:  # threading adds these to a float before it looks at them
        both(f"m.Semaphore(0).acquire(True, {timeout})", with_text=False)
    both(f"m.Semaphore(0).acquire(False, {timeout})")


@pytest.mark.parametrize("timeout", ["-1", "-1.0", "float('nan')"])
def test_timeouts_without_time(timeout: str) -> None:
    """A timeout of -1 is no endless wait for anything but Lock and RLock, and NaN is no time at all."""
    both(f"m.Event().wait({timeout})")
    both(f"(lambda c: (c.acquire(), c.wait({timeout}))[1])(m.Condition())")


CALLS = [
    "m.Lock(1)", "m.Lock(**{'x': 1})", "m.Lock().acquire(True, -1, 3)", "m.Lock().acquire(foo=1)", "m.Lock().release(1)",
    "m.Lock().release()", "m.Lock().__exit__(None, None, None)", "m.Lock().locked(1)",
    "m.RLock().release()", "m.RLock().__exit__(None, None, None)", "m.RLock().acquire(True, -1, 3)", "m.RLock()._release_save()",
    "m.RLock()._is_owned()", "m.RLock()._recursion_count()", "m.RLock()._acquire_restore((2, 1))",
    "m.RLock()._acquire_restore(3)",
    "m.Condition(3)", "m.Condition(m.Lock()).wait()", "m.Condition().notify()", "m.Condition().notify_all()",
    "m.Condition().wait(1)", "m.Condition().release()", "m.Condition().acquire(foo=1)", "m.Condition()._is_owned()",
    "(lambda c: (c.acquire(), c.notify('x')))(m.Condition())", "(lambda c: (c.acquire(), c.notify(-3)))(m.Condition())",
    "m.Semaphore(-1)", "m.Semaphore('x')", "m.Semaphore(None)", "m.Semaphore(0).acquire(False)", "m.Semaphore(value=2)._value",
    "m.Semaphore().acquire(False, 1)", "m.Semaphore().release(0)", "m.Semaphore().release(-1)", "m.Semaphore().release('x')",
    "m.Semaphore().release(n=2)", "m.Semaphore().__enter__()",
    "m.BoundedSemaphore(-1)", "m.BoundedSemaphore().release()", "m.BoundedSemaphore(2).release(3)",
    "m.BoundedSemaphore().release(0)", "m.BoundedSemaphore(5)._initial_value",
    "m.Event().set()", "m.Event().clear()", "m.Event().is_set()", "m.Event().wait('x')",
    "m.Barrier(0)", "m.Barrier(-1)", "m.Barrier()", "m.Barrier(1).wait()", "m.Barrier(1, None, 3).wait(2)",
    "m.Barrier(2).parties", "m.Barrier(2).n_waiting", "m.Barrier(2).broken", "m.Barrier(2).abort()", "m.Barrier(2).reset()",
    "m.Barrier(2).wait(timeout=0)", "m.Barrier(2).wait('x')", "m.Barrier(parties=1, action=int, timeout=1).wait(timeout=1)",
    "(lambda b: (b.abort(), b.wait()))(m.Barrier(1))", "(lambda b: (b.abort(), b.broken))(m.Barrier(1))",
]  # fmt: skip
# Where the interpreter itself words the error: which argument is wrong is said in other words by a compiled function.
WORDED_OTHERWISE = {"m.Lock(1)", "m.Lock(**{'x': 1})", "m.Lock().acquire(foo=1)", "m.Condition().acquire(foo=1)", "m.Barrier()",
                    "m.RLock()._acquire_restore(3)", "m.Lock().release(1)", "m.Lock().locked(1)",
                    "m.Lock().acquire(True, -1, 3)", "m.RLock().acquire(True, -1, 3)"}  # fmt: skip


@pytest.mark.parametrize("question", CALLS)
def test_calls(question: str) -> None:
    """Good and bad calls give equal values, or errors of equal type and, but for the interpreter's own, equal text."""
    if "_recursion_count" in question and not hasattr(threading.RLock(), "_recursion_count"):
        pytest.skip("threading's of this version has none")
    both(question, with_text=question not in WORDED_OTHERWISE)


VALUES = ["2.0", "2.5", "0.0", "0.5", "-0.5", "float('inf')", "-float('inf')", "float('nan')", "1e300", "10**30", "2**62", "2**63",
          "__import__('fractions').Fraction(2)", "__import__('fractions').Fraction(5, 2)", "__import__('decimal').Decimal('1')",
          "'2'", "None", "[]", "2j"]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["Semaphore", "BoundedSemaphore"])
def test_values_of_semaphores(name: str, value: str) -> None:
    """Every number that threading takes for a value is taken, counted down to zero or for ever, and shown alike."""
    made = f"m.{name}({value})"
    both(made)
    both(f"(lambda s: ([s.acquire(False) for _ in range(4)], s._value))({made})")
    both(f"(lambda s: ([s.acquire(False) for _ in range(4)], s.release(2), s._value))({made})")
    both(f"(lambda s: (s.acquire(False), s.release(), s.acquire(False), s._value * 1))({made})")
    both(f"{made}.release()")
    both(f"(lambda s: (s.acquire(False), s.release(2)))({made})")
    both(f"getattr({made}, '_initial_value', 0)")


@pytest.mark.parametrize("value", VALUES[:-4])
def test_the_value_of_a_semaphore_is_set(value: str) -> None:
    """Who counts by hand may use any number too, and an ordinary one later."""
    both(f"(lambda s: (setattr(s, '_value', {value}), s._value, s.acquire(False), s._value))(m.Semaphore())")
    both(f"(lambda s: (setattr(s, '_value', 1), s._value, s.acquire(False), s.acquire(False), s._value))(m.Semaphore({value}))")


@pytest.mark.parametrize("name", NAMES)
def test_attributes(name: str) -> None:
    """Ours have every attribute that theirs have, methods and the private ones that programs are known to use."""
    theirs, ours = set(dir(make(threading, name))), set(dir(make(fastlock, name)))
    known_only_there = {"_count", "_state", "_enter", "_release", "_wait", "_exit", "_parties", "__weakref__", "__dict__", "__static_attributes__",
                        "__firstlineno__", "__annotations__", "__annotate__", "__annotations_cache__"}  # fmt: skip
    assert theirs - ours - known_only_there == set()


@pytest.mark.parametrize("name", ["Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"])
def test_parameters(name: str) -> None:
    """Each parameter of threading's methods is one of ours, by its name and by its position."""
    theirs = getattr(threading, name)
    for method_name, method in inspect.getmembers(theirs, inspect.isfunction):
        if method_name.startswith("_") or method_name in {"notifyAll", "isSet"}:
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        bound = getattr(make(fastlock, name), method_name)
        for good in (False, True):
            names = [parameter.name for parameter in parameters] + ["no_such_parameter"] * (not good)
            try:
                bound(**dict.fromkeys(names, "bad"))
                error = None
            except Exception as raised:
                error = raised
            unexpected = error is not None and "argument" in str(error) and "keyword" in str(error)
            assert unexpected is not good, (method_name, names, error)


@pytest.mark.parametrize("name", NAMES)
def test_repr_and_type(name: str) -> None:
    """repr is the same but for the address, and the types say the same names of themselves."""
    assert outcome(lambda: repr(make(fastlock, name))) == outcome(lambda: repr(make(threading, name)))
    theirs, ours = type(make(threading, name)), type(make(fastlock, name))
    assert (ours.__name__, ours.__qualname__, ours.__module__) == (theirs.__name__, theirs.__qualname__, theirs.__module__)
    assert str(ours) == str(theirs)
    assert callable(getattr(fastlock, name))


@pytest.mark.parametrize("name", NAMES)
def test_copy_and_pickle_are_refused(name: str) -> None:
    """A primitive can be neither pickled nor deep-copied: TypeError, as theirs."""
    for refuse in (pickle.dumps, copy.deepcopy):
        for module in (threading, fastlock):
            with pytest.raises(TypeError):
                refuse(make(module, name))
    if name in ("Lock", "RLock"):
        both(f"__import__('pickle').dumps(m.{name}())")
        both(f"__import__('copy').copy(m.{name}())")


@pytest.mark.parametrize("name", NAMES)
def test_weak_references_identity_and_truth(name: str) -> None:
    """Primitives can be referred to weakly, hash and compare by identity, and are true."""
    for module in (threading, fastlock):
        one, other = make(module, name), make(module, name)
        reference = weakref.ref(one)
        assert reference() is one and one == one and one != other and len({one, other}) == 2 and bool(one)
        del one
        assert reference() is None


@pytest.mark.parametrize("name", NAMES)
def test_subclassing_and_attributes(name: str) -> None:
    """What can be subclassed, and what takes attributes, is the same."""
    both(f"type('Sub', (type(m.{name}({'2' if name == 'Barrier' else ''})),), {{}}).__name__", with_text=name != "Lock")
    both(f"setattr(m.{name}({'2' if name == 'Barrier' else ''}), 'extra', 1)", with_text=False)


@pytest.mark.parametrize("name", ["Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "RLock"])
def test_a_subclass_keeps_its_name_and_constructor(name: str) -> None:
    """A subclass with a constructor of its own works, and its repr names it as a subclass of theirs would be named."""
    texts = []
    for module in (threading, fastlock):
        base = type(make(module, name))

        class Sub(base):  # type: ignore[valid-type, misc]
            def __init__(self, label: str) -> None:
                if name != "RLock":
                    super().__init__(*ARGUMENTS.get(name, ()))
                self.label = label

        thing = Sub("x")
        assert thing.label == "x" and isinstance(thing, base)
        texts.append(re.sub(r"0x[0-9a-f]+", "0x", repr(thing)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("argument", ["1", "None", "x=1"])
def test_arguments_of_rlock(argument: str) -> None:
    """RLock takes or refuses, and warns of, arguments as the running version does; an unknown keyword is refused unless threading only warns."""
    if "=" in argument and not (3, 13) <= sys.version_info < (3, 15):
        with pytest.raises(TypeError):
            eval(f"m.RLock({argument})", {"m": fastlock})
        return
    seen = []
    for module in (threading, fastlock):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = outcome(lambda module=module: eval(f"m.RLock({argument})", {"m": module}), False)
        seen.append((result, [(warning.category, str(warning.message)) for warning in caught]))
    assert seen[0] == seen[1]


def test_deprecated_names_warn_alike() -> None:
    """notifyAll and isSet give their results and threading's own warnings."""
    for question in ("(lambda c: (c.acquire(), c.notifyAll()))(m.Condition())", "m.Event().isSet()"):
        texts = []
        for module in (threading, fastlock):
            with pytest.warns(DeprecationWarning) as caught:
                eval(question, {"m": module})
            texts.append([str(warning.message) for warning in caught])
        assert texts[0] == texts[1]


def test_versions_differ_as_threadings_do() -> None:
    """Lock is a function up to 3.12 and a type from 3.13 on, in both modules."""
    assert inspect.isclass(fastlock.Lock) is (sys.version_info >= (3, 13)) is inspect.isclass(threading.Lock)


@pytest.mark.parametrize("name", [*NAMES, "RWLock"])
def test_every_method_has_a_signature(name: str) -> None:
    """inspect can tell the signature of each type and of each method, bound and not; bound it lacks self alone."""
    things = [make(fastlock, name)]
    things += [things[0].read(), things[0].write(), things[0].upgradable()] if name == "RWLock" else []
    for thing in things:
        for method_name in {key for cls in type(thing).__mro__[:-1] for key in vars(cls)}:
            method = inspect.getattr_static(type(thing), method_name)
            if callable(method) and method_name not in ("__new__", "__reduce__", "__init__"):
                unbound = list(inspect.signature(method).parameters)
                assert unbound[0] == "self"
                bound = getattr(thing, method_name)
                assert list(inspect.signature(bound).parameters) == unbound[1:]
                assert inspect.isroutine(bound) or type(bound).__name__ == "method-wrapper"  # those are none up to 3.10
    of_type = inspect.signature(type(things[0]))
    assert name == "Barrier" or "name" in of_type.parameters
    assert inspect.signature(getattr(fastlock, name)) == of_type
    assert not (type(things[0]).__doc__ or "--").count("--")


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_theirs(name: str) -> None:
    """Where the running version tells threading's signature, ours has the same parameters first, with the same defaults."""
    theirs, ours = make(threading, name), make(fastlock, name)
    pairs = [(type(theirs), type(ours))]
    pairs += [(getattr(theirs, key), getattr(ours, key)) for key in dir(type(theirs)) if not key.startswith("_")]
    for their_callable, our_callable in pairs:
        if not callable(their_callable):
            continue
        try:
            expected = inspect.signature(their_callable)
        except ValueError:
            continue
        got = inspect.signature(our_callable).parameters.values()
        positional = [each for each in got if each.kind is not each.KEYWORD_ONLY]
        assert [str(each) for each in positional] == [str(each) for each in expected.parameters.values()], our_callable


def test_a_bound_method_as_an_attribute_of_a_class_stays_bound() -> None:
    """Put into a class it is not bound again, as a builtin is not."""
    lock = fastlock.Lock()
    holder = type("Holder", (), {"enter": lock.__enter__, "leave": lock.__exit__})()
    holder.enter()
    assert lock.locked()
    holder.leave(None, None, None)
    assert not lock.locked()
