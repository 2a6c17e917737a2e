"""The hints in the source, found by its syntax, so that none can be added without a row of the table.

A hint is what goes to the keyword ``hint``, to an attribute of that name, or to the keywords that become one; and what
a constant HINT or HINTS holds. Names and calls in it are followed to what they stand for.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

SOURCE = Path(__file__).parents[2] / "resource"
KEYWORDS = frozenset({"hint", "permission", "refusal"})
NOT_FOLLOWED = frozenset({"get", "items", "quote", "decode", "str"})
"""Functions whose arguments are keys and values, not texts of ours."""
MIN_LETTERS = 12
"""Shorter pieces are the glue between parts of a hint."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Functions: TypeAlias = "dict[str, list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.Module, bool]]]"
"""By name: each with its module, and whether it is a method."""


@cache
def literals() -> dict[str, str]:
    """Each piece of text that is part of a hint, and the module where it was found."""
    paths = sorted((SOURCE / "registry_image").rglob("*.py"))
    trees = {".".join(path.relative_to(SOURCE).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}
    functions: _Functions = defaultdict(list)
    for tree in trees.values():
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, _Function):
                    functions[child.name].append((child, tree, isinstance(node, ast.ClassDef)))
    found: dict[str, str] = {}
    for name in trees:
        for piece in _Search(trees, functions, name).pieces():
            if len(piece.strip()) >= MIN_LETTERS:
                found.setdefault(piece.strip(), name)
    return found


class _Search:
    """The texts of the hints in one module; ``index`` is the part of a tuple that is meant, if it is one."""

    def __init__(self, trees: dict[str, ast.Module], functions: _Functions, module: str) -> None:
        self._trees = trees
        self._functions = functions
        self._module = module
        self._seen: set[int] = set()

    def pieces(self) -> Iterator[str]:
        tree = self._trees[self._module]
        for scope in ast.walk(tree):
            if isinstance(scope, _Function | ast.Module):
                for node in _own_nodes(scope):
                    for expression in _hints(node):
                        yield from self._texts(expression, (scope, tree), None)

    def _texts(self, node: ast.AST, scopes: tuple[ast.AST, ...], index: int | None) -> Iterator[str]:
        if index is not None and isinstance(node, ast.Tuple):
            node = node.elts[index]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Dict):
            for value in node.values:
                yield from self._texts(value, scopes, None)
        elif isinstance(node, ast.Name):
            yield from self._named(node.id, scopes)
        elif isinstance(node, ast.Call):
            yield from self._called(node, scopes, index)
        elif isinstance(node, ast.Attribute):
            yield from self._returned(node.attr, None, None)  # a property
            yield from self._texts(node.value, scopes, None)
        elif isinstance(node, ast.Subscript):
            yield from self._texts(node.value, scopes, None)
        elif isinstance(node, ast.IfExp):
            for branch in (node.body, node.orelse):
                yield from self._texts(branch, scopes, index)
        elif not isinstance(node, ast.Compare):
            for child in ast.iter_child_nodes(node):
                yield from self._texts(child, scopes, None)

    def _named(self, name: str, scopes: tuple[ast.AST, ...]) -> Iterator[str]:
        tree = scopes[-1]
        for place in (*scopes, *self._imported(name, tree)):
            values = list(_assigned(name, place))
            for value, index in values:
                if id(value) not in self._seen:
                    self._seen.add(id(value))
                    yield from self._texts(value, scopes if place in scopes else (place,), index)
            if values:
                return

    def _called(self, node: ast.Call, scopes: tuple[ast.AST, ...], index: int | None) -> Iterator[str]:
        if isinstance(node.func, ast.Attribute):
            name, places = node.func.attr, None
            yield from self._texts(node.func.value, scopes, None)
        else:
            name = getattr(node.func, "id", "")
            places = [scopes[-1], *self._imported(name, scopes[-1])]
        if name in NOT_FOLLOWED:
            return
        yield from self._returned(name, places, index)
        if places is None or not any(tree in places for _, tree, _ in self._functions.get(name, ())):
            for child in node.args:
                yield from self._texts(child, scopes, None)

    def _returned(self, name: str, places: list[ast.AST] | None, index: int | None) -> Iterator[str]:
        """What functions of that name return: those in ``places``, or methods anywhere."""
        for function, tree, method in self._functions.get(name, ()):
            if id(function) not in self._seen and (method if places is None else tree in places):
                self._seen.add(id(function))
                for inner in ast.walk(function):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        yield from self._texts(inner.value, (function, tree), index)

    def _imported(self, name: str, tree: ast.AST) -> list[ast.Module]:
        return [
            self._trees[node.module]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in self._trees and name in [x.name for x in node.names]
        ]


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """What is in ``scope``, without the functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, _Function):
            yield child
            yield from _own_nodes(child)


def _hints(node: ast.AST) -> Iterator[ast.AST]:
    # A field of cosign's bundles has the name, too.
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") != "Signature":
        yield from (keyword.value for keyword in node.keywords if keyword.arg in KEYWORDS)
    if isinstance(node, ast.Assign):
        for target in node.targets:
            attribute = isinstance(target, ast.Attribute) and target.attr == "hint"
            table = isinstance(target, ast.Name) and re.fullmatch(r"_?([A-Z]+_)*HINTS?", target.id)
            if attribute or table:
                yield node.value


def _assigned(name: str, scope: ast.AST) -> Iterator[tuple[ast.AST, int | None]]:
    """The values that ``name`` is given in ``scope``; with a number, the part of a tuple that it is given."""
    for node in _own_nodes(scope):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name and node.value is not None:
                yield node.value, None
            elif isinstance(target, ast.Tuple):
                for index, each in enumerate(target.elts):
                    if isinstance(each, ast.Name) and each.id == name and node.value is not None:
                        yield node.value, index
