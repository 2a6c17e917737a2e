"""Immutable records: what frozen dataclasses are, for the classes that each check and get makes (docs/adr/0105).

`dataclasses` compiles methods for each class and imports `inspect`, which takes a seventh of a check's CPU time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Annotated, Never, Protocol, TypeAlias, TypeVar, dataclass_transform

_T = TypeVar("_T")

#: The type of a field that `repr` leaves out, because it is secret or long.
Hidden: TypeAlias = Annotated[_T, "hidden"]
#: The default of a field that is a mapping.
EMPTY: Mapping[str, Never] = MappingProxyType({})


class _Checked(Protocol):
    def __post_init__(self) -> None: ...


@dataclass_transform(frozen_default=True)
def record(*, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Makes a record of a class, whose fields are its annotations, after those of the records that it inherits from.

    Records are equal if they are of one class and all their fields are equal. ``__post_init__`` may refuse values by
    raising. The module that uses it needs ``from __future__ import annotations``, so that annotations are texts.
    """

    def decorate(cls: type[_T]) -> type[_T]:
        types: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            types |= vars(base).get("__annotations__", {})
        names = tuple(types)
        defaults = {name: getattr(cls, name) for name in names if hasattr(cls, name)}
        shown = [name for name in names if not types[name].startswith("Hidden[")]
        methods = _methods(names, defaults, shown, positional=0 if kw_only else len(names))
        if hasattr(cls, "__post_init__"):
            methods["__init__"] = _checked(methods["__init__"])
        for name, method in methods.items():
            setattr(cls, name, method)
        return cls

    return decorate


def replace(old: _T, **changes: object) -> _T:
    """A record that differs from ``old`` in ``changes``."""
    return type(old)(**{**vars(old), **changes})


def _checked(initialise: Callable[..., object]) -> Callable[..., None]:
    """``initialise``, and then the class's own ``__post_init__``."""

    def initialise_and_check(self: _Checked, *values: object, **named: object) -> None:
        initialise(self, *values, **named)
        self.__post_init__()

    return initialise_and_check


def _methods(
    names: tuple[str, ...], defaults: Mapping[str, object], shown: list[str], *, positional: int
) -> dict[str, Callable[..., object]]:
    known = set(names)
    values_of = attrgetter(*names)

    def initialise(self: object, *values: object, **named: object) -> None:
        fields = {**defaults, **dict(zip(names, values)), **named}  # noqa: B905 - the next line counts them
        if fields.keys() != known or len(values) > positional or not named.keys().isdisjoint(names[: len(values)]):
            raise TypeError(f"{type(self).__name__}: expected the fields {', '.join(names)}: got {list(fields)}")
        vars(self).update(fields)

    def is_equal(self: object, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def calculate_hash(self: object) -> int:
        return hash(values_of(self))

    def show(self: object) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def refuse(self: object, name: str, *_: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a record never changes")

    return {
        "__init__": initialise,
        "__eq__": is_equal,
        "__hash__": calculate_hash,
        "__repr__": show,
        "__setattr__": refuse,
        "__delattr__": refuse,
    }
