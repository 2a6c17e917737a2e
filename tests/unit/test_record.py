"""Records behave as frozen dataclasses do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from registry_image.record import EMPTY, Hidden, record, replace


@record()
class Point:
    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        return self.x + self.y


@record(kw_only=True)
class Named(Point):
    name: str


@record()
class Place:
    x: int
    y: int = 0


@record(kw_only=True)
class Account:
    name: str
    password: Hidden[str] = ""
    labels: Mapping[str, str] = EMPTY


@record(kw_only=True)
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


def test_a_record_refuses_values_in_post_init() -> None:
    assert Checked(number=1).number == 1
    with pytest.raises(ValueError, match="negative"):
        Checked(number=-1)
    with pytest.raises(ValueError, match="negative"):
        replace(Checked(number=1), number=-1)


def test_fields_are_given_in_order_or_by_name_and_have_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1, 2).sum, Point(y=2, x=1).sum) == (1, 0, 3, 3)
    assert dict(Account(name="a").labels) == {}


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1}), ((), {"y": 1}), ((), {"y": 1, "z": 1})],
)
def test_missing_unknown_and_repeated_fields_are_refused(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point: expected the fields x, y"):
        Point(*values, **named)


def test_fields_that_are_keyword_only_are_not_given_by_position() -> None:
    make: Callable[..., Account] = Account
    with pytest.raises(TypeError, match="Account"):
        make("a")


def test_records_are_equal_and_hash_alike_if_class_and_fields_are_equal() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(2, 1)
    others: list[object] = [Place(1, 2), (1, 2)]
    assert Point(1, 2) not in others
    assert {Point(1): "a"}[Point(1)] == "a"


def test_a_record_inherits_fields_and_defaults() -> None:
    assert Named(x=1, name="a").y == 0
    assert Named(x=1, name="a") != Named(x=1, y=1, name="a")
    with pytest.raises(TypeError, match="expected the fields x, y, name"):
        Named(x=1)  # type: ignore[call-arg]  # what mypy refuses is refused at run time too


def test_a_record_never_changes() -> None:
    point = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match=f"Point.{name}: a record never changes"):
            setattr(point, name, 2)
    with pytest.raises(AttributeError):
        delattr(point, name)
    assert point == Point(1)


def test_a_hidden_field_is_not_shown() -> None:
    assert repr(Account(name="a", password="5ecret")) == "Account(name='a', labels=mappingproxy({}))"


def test_a_record_is_replaced_by_one_with_changes() -> None:
    old = Account(name="a", password="b")
    assert replace(old, name="c") == Account(name="c", password="b")
    assert old.name == "a"
    with pytest.raises(TypeError):
        replace(old, names="c")
