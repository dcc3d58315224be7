"""What of the standard library each process needs that starts, without what it brings along; to a type checker these *are* the standard library's.

Its ``dataclass`` and ``NamedTuple`` generate source for each class and compile it, and load some thirty modules for that, ``re``, ``enum`` and
``collections`` among them: that took longer than all the rest of a start. Here all classes share the same functions.
``dataclasses.fields()``, ``replace()`` and ``asdict()`` take these records. What is imported later, by who asks for it, has the standard library's own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque as deque
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from functools import cached_property as cached_property
    from functools import wraps as wraps
    from opcode import opmap as opmap
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter, deque

    try:
        from _opcode_metadata import opmap
    except ImportError:  # up to 3.12
        from opcode import opmap

    _MISSING = object()

    class field:
        """A field's default, and whether repr() shows the field."""

        __slots__ = ("default", "repr")

        def __init__(self, *, default=_MISSING, repr=True):
            self.default, self.repr = default, repr

    def dataclass(*, frozen):
        """Return the decorator that makes a class of annotated fields a frozen record; `frozen` must be true."""
        if not frozen:
            raise TypeError("only frozen records are made here")
        return _frozen

    def replace(record, /, **changes):
        """Return a record with other values in some fields."""
        return type(record)(**{**vars(record), **changes})

    def _frozen(cls):
        names, defaults, hidden = {}, {}, set()
        for base in reversed(cls.__mro__[1:]):
            names |= dict.fromkeys(vars(base).get("__match_args__", ()))
            defaults |= vars(base).get("_field_defaults", {})
            hidden |= vars(base).get("_hidden", set())
        for name in cls.__dict__.get("__annotations__", ()):
            names[name] = None
            value = cls.__dict__.get(name, _MISSING)
            if type(value) is field:
                hidden |= set() if value.repr else {name}
                value = value.default
                delattr(cls, name)
            if value is not _MISSING:
                defaults[name] = value
                setattr(cls, name, value)
        cls.__match_args__, cls._field_defaults, cls._hidden = tuple(names), defaults, frozenset(hidden)
        cls._blank, cls._required = {**names, **defaults}, frozenset(names.keys() - defaults.keys())
        for name, value in _METHODS.items():
            if name not in cls.__dict__ or cls.__dict__[name] is None:  # a class that has __eq__ gets __hash__ = None
                setattr(cls, name, value)
        return cls

    def _filled(cls, values, named):
        """Return the values of all fields in their order, out of an __init__'s arguments; TypeError as a function would raise."""
        names = cls.__match_args__
        if len(values) == len(names) and not named:
            return values
        rest = names[len(values) :]
        given = {**cls._field_defaults, **named}
        if len(values) > len(names) or not (given.keys() >= set(rest) >= named.keys()):
            raise TypeError(f"{cls.__name__} has {', '.join(names)}; given were {len(values)} values and {', '.join(named) or 'no names'}")
        return values + tuple([given[name] for name in rest])

    def _init(self, /, *values, **named):
        cls = type(self)
        if values:
            state = zip(cls.__match_args__, _filled(cls, values, named))
        else:  # as most are made, and the shortest way
            state = cls._blank | named  # in the fields' order
            if len(state) > len(cls._blank) or not named.keys() >= cls._required:
                _filled(cls, (), named)  # which says what is wrong
        vars(self).update(state)

    def _repr(self):
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__match_args__ if name not in self._hidden]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _eq(self, other):
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def _hash(self):
        return hash(tuple(vars(self).values()))

    def _setattr(self, name, value):
        raise _refusal("assign to", name)

    def _delattr(self, name):
        raise _refusal("delete", name)

    def _refusal(what, name):
        from dataclasses import FrozenInstanceError

        return FrozenInstanceError(f"cannot {what} field {name!r}")

    class _OfDataclass:
        """An attribute by which dataclasses and inspect know a class: taken from a real dataclass, made when one of them asks."""

        def __init__(self, name):
            self.name = name

        def __get__(self, record, cls):
            import dataclasses
            import inspect

            types = {name: kind for base in reversed(cls.__mro__) for name, kind in vars(base).get("__annotations__", {}).items()}
            fields = []
            for name in cls.__match_args__:
                default = cls._field_defaults.get(name, dataclasses.MISSING)
                fields.append((name, types[name], dataclasses.field(default=default, repr=name not in cls._hidden)))
            made = dataclasses.make_dataclass(cls.__name__, fields, frozen=True)
            value = inspect.signature(made) if self.name == "__signature__" else getattr(made, self.name)
            setattr(cls, self.name, value)
            return value

    _METHODS = {
        "__init__": _init,
        "__repr__": _repr,
        "__eq__": _eq,
        "__hash__": _hash,
        "__setattr__": _setattr,
        "__delattr__": _delattr,
        "__replace__": replace,
        **{name: _OfDataclass(name) for name in ("__dataclass_fields__", "__dataclass_params__", "__signature__")},
    }

    class _NamedTuples(type):
        """Makes the fields of a class properties of a tuple."""

        def __new__(mcls, name, bases, namespace):
            names = tuple(namespace.get("__annotations__", ()))
            defaults = {each: namespace.pop(each) for each in names if each in namespace}
            getters = {each: _tuplegetter(at, None) for at, each in enumerate(names)}
            own = {"__slots__": (), "_fields": names, "__match_args__": names, "_field_defaults": defaults}
            return super().__new__(mcls, name, bases, {**namespace, **getters, **own})

    class NamedTuple(tuple, metaclass=_NamedTuples):
        """A tuple whose places have names."""

        def __new__(cls, /, *values, **named):
            return tuple.__new__(cls, _filled(cls, values, named))

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in zip(self.__match_args__, self))})"

        def __getnewargs__(self):
            return tuple(self)

        def _replace(self, /, **changes):
            return type(self)(**{**self._asdict(), **changes})

        def _asdict(self):
            return dict(zip(self.__match_args__, self))

    class cached_property:
        """A method's result, made once for each object."""

        def __init__(self, make):
            self.make, self.__doc__ = make, make.__doc__

        def __get__(self, record, cls=None):
            if record is None:
                return self
            value = vars(record)[self.make.__name__] = self.make(record)
            return value

    def wraps(original):
        """Return functools.wraps(original): a program that has what is wrapped has that module as well."""
        from functools import wraps

        return wraps(original)
