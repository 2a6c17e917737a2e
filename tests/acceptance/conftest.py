"""Fixtures of the acceptance tests."""

from __future__ import annotations

import pytest

from tests.support.registry import Registry


@pytest.fixture(params=["registry", "htpasswd_registry", "tls_registry", "token_registry"])
def any_registry(request: pytest.FixtureRequest) -> Registry:
    """Each kind of registry in turn."""
    chosen: Registry = request.getfixturevalue(request.param)
    return chosen
