"""Debian's docker-registry on a free loopback port, configured by the test."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support import parts
from tests.support.certificates import LOOPBACK, Authority
from tests.support.process import Server, server
from tests.support.tokenserver import ISSUER, TokenServer, token_server

USERNAME = "concourse"
PASSWORD = "open: sesame"
"""With a space and a colon; in Basic authentication only the first colon separates."""
HTPASSWD = f"{USERNAME}:$2b$04$abcdefghijklmnopqrstuuLI5ZYefvaTAWJ5swj72N0TQyxmUyIh.\n"
"""bcrypt of PASSWORD, the only scheme docker-registry reads."""
ANOTHER_NAME = "registry.test"
"""Another name in a TLS registry's certificate. It does not resolve: only a proxy finds it."""
REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3})')


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The default is an open registry over plain HTTP."""

    auth: Literal["none", "htpasswd", "token"] = "none"
    tls: bool = False
    proxy: str | None = None
    """The URL of the origin, for a pull-through cache."""
    relative_urls: bool = False
    """Upload locations without scheme and host."""
    as_installed: bool = False
    """Debian's cache of descriptors, and no log of accesses (`Registry.requests` then finds none)."""
    htpasswd: str = HTPASSWD
    """The accounts for `auth="htpasswd"`: lines of name:bcrypt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request the registry answered."""

    method: str
    target: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A running registry, and what its clients need."""

    host: str
    """``127.0.0.1:port``, as it stands in an image's name."""
    url: str
    ca: Path | None
    """The authority that signed its certificate, None over plain HTTP."""
    username: str | None
    password: str | None
    tokens: TokenServer | None
    storage: Path
    _server: Server
    _marks: Iterator[int] = field(default_factory=itertools.count)

    def source(self, repository: str, /, **fields: object) -> dict[str, object]:
        """The source for ``repository`` in this registry; ``fields`` are added or replace others."""
        source: dict[str, object] = {"repository": f"{self.host}/{repository}", "tag": "latest"}
        if self.username is not None:
            source |= {"username": self.username, "password": self.password}
        if self.ca is not None:
            source["ca_certs"] = [self.ca.read_text()]
        return source | fields

    def mark(self) -> int:
        """Now, as a position in the log for `requests`."""
        # When a new request shows in the log, all earlier ones show too.
        marker = f"/mark/{next(self._marks)}"
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(self.url + marker, context=context, timeout=60)  # noqa: S310 (our own server)
        line = self._server.wait_for(f"GET {marker} ")
        return self._server.lines.index(line) + 1

    def requests(self, since: int = 0) -> list[Request]:
        """The requests since the position ``since``, in the order of their answers."""
        lines = self._server.lines[since : self.mark() - 1]
        found = (REQUEST.search(line) for line in lines)
        answered = [Request(method=hit[1], target=hit[2], status=int(hit[3])) for hit in found if hit]
        return [request for request in answered if not request.target.startswith("/mark/")]


@contextlib.contextmanager
def docker_registry(directory: Path, config: Config | None = None) -> Iterator[Registry]:
    """Runs docker-registry with its data in ``directory`` until the block is left."""
    config = config or Config()
    program = parts.need("docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        tokens: TokenServer | None = None
        if config.auth == "token":
            accounts = {USERNAME: PASSWORD}
            tokens = stack.enter_context(token_server(directory / "tokens", service="tests", accounts=accounts))
        authority = Authority(directory / "tls") if config.tls else None
        written = directory / "config.yml"
        written.write_text(json.dumps(_settings(directory, config, tokens, authority)))  # JSON is YAML
        running = stack.enter_context(server([program, "serve", str(written)]))
        listening = running.wait_for("listening on ")
        found = re.search(r"listening on ([\d.]+:\d+)", listening)
        assert found is not None, listening
        yield Registry(
            host=found[1],
            url=f"{'https' if config.tls else 'http'}://{found[1]}",
            ca=authority.certificate if authority else None,
            username=None if config.auth == "none" else USERNAME,
            password=None if config.auth == "none" else PASSWORD,
            tokens=tokens,
            storage=directory / "data",
            _server=running,
        )


def _settings(
    directory: Path, config: Config, tokens: TokenServer | None, authority: Authority | None
) -> dict[str, object]:
    http: dict[str, object] = {
        "addr": "127.0.0.1:0",  # the kernel picks a free port, the log says which
        "secret": secrets.token_hex(),
        "relativeurls": config.relative_urls,
    }
    storage: dict[str, object] = {
        "filesystem": {"rootdirectory": str(directory / "data")},
        "delete": {"enabled": True},
        "maintenance": {"uploadpurging": {"enabled": False}},
    }
    if config.as_installed:
        storage["cache"] = {"blobdescriptor": "inmemory"}
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": config.as_installed}},
        "storage": storage,
        "http": http,
    }
    if authority is not None:
        pair = authority.issue(names=(*LOOPBACK, ANOTHER_NAME))
        http["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
    if config.proxy is not None:
        settings["proxy"] = {"remoteurl": config.proxy}
    if config.auth == "htpasswd":
        passwords = directory / "htpasswd"
        passwords.write_text(config.htpasswd)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
    if tokens is not None:
        settings["auth"] = {
            "token": {
                "realm": tokens.url,
                "service": tokens.service,
                "issuer": ISSUER,
                "rootcertbundle": str(tokens.bundle),
            }
        }
    return settings
