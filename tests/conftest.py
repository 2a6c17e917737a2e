"""Fixtures that several rooms of the tests share. Registries live for the session; repository names are unique."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import uuid
from collections.abc import Callable, Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from registry_image.net.secrets import SECRETS
from tests.support import parts
from tests.support.clients import Time
from tests.support.ear import Ear
from tests.support.engine import Engine, docker_engine
from tests.support.registry import Config, Registry, docker_registry

# A busy machine is no bug: examples have no deadline of their own, and may be made slowly. They are the same in every
# run: a find by chance would fail a change that has nothing to do with it. `make fuzz` looks for others, for long.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", PATIENT, derandomize=True, database=None)
settings.register_profile("fuzz", PATIENT, derandomize=False, max_examples=100_000)
settings.load_profile("default")

# Whoever starts the tests in the background may have SIGINT ignored, and that is inherited: tests of interrupts, and
# whoever wants to stop the tests, need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

StartRegistry = Callable[[Config], Registry]


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") == "no":  # xdist's workers inherit what they need to know
        parts.set_caller_aside()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may be skipped: there a skip is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"CI=true, and this was skipped: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """What one test's credentials hide would be missing in another's output."""
    yield
    SECRETS.clear()


@pytest.fixture(scope="session")
def start_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRegistry]:
    """Start a docker-registry; two calls with the same configuration give the same one."""
    running: dict[Config, Registry] = {}
    with contextlib.ExitStack() as stack:

        def start(config: Config) -> Registry:
            if config not in running:
                directory = tmp_path_factory.mktemp("registry")
                running[config] = stack.enter_context(docker_registry(directory, config))
            return running[config]

        yield start


@pytest.fixture(scope="session")
def registry(start_registry: StartRegistry) -> Registry:
    """A real registry, open to everyone, over plain HTTP."""
    return start_registry(Config())


@pytest.fixture(scope="session")
def htpasswd_registry(start_registry: StartRegistry) -> Registry:
    """A real registry that wants Basic credentials."""
    return start_registry(Config(auth="htpasswd"))


@pytest.fixture(scope="session")
def tls_registry(start_registry: StartRegistry) -> Registry:
    """A real registry behind TLS, its certificate signed by a throwaway authority; open to everyone."""
    return start_registry(Config(tls=True))


@pytest.fixture(scope="session")
def token_registry(start_registry: StartRegistry) -> Registry:
    """A real registry that wants tokens of a token server: everyone may pull, an account may push."""
    return start_registry(Config(auth="token"))


@pytest.fixture(scope="session")
def cache_registry(registry: Registry, start_registry: StartRegistry) -> Registry:
    """A real pull-through cache of `registry`."""
    return start_registry(Config(proxy=registry.url))


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def repository_name(request: pytest.FixtureRequest) -> str:
    """A repository name that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60].strip("-")
    return f"{words}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine. Tests that use it carry ``pytest.mark.xdist_group("engine")``: one engine is enough."""
    with docker_engine() as running:
        yield running
