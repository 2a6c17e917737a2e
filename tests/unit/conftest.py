"""Fixtures of the tests of logins to clouds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_image.net.client import Client
from registry_image.net.retry import ONCE
from registry_image.net.tls import TLS
from registry_image.progress import Listener
from tests.support.internet import Internet


@pytest.fixture
def client(web: Internet) -> Iterator[Client]:
    made = Client(tls=TLS(ca_certs=(web.authority.pem,)), policy=ONCE, listener=Listener())
    yield made
    made.connections.close()
