"""How long credentials are kept, and what happens when they cannot be renewed."""

from __future__ import annotations

import threading

import pytest

from registry_image.auth.credentials import Credentials
from registry_image.auth.refreshable import MIN_LIFE, RENEW_BEFORE, Expiring, RefreshableCredentials
from registry_image.errors import AuthError


class Cloud(RefreshableCredentials):
    """Grants numbered credentials, by default for an hour."""

    def __init__(self) -> None:
        super().__init__(lambda: self.now)
        self.now = 1000.0
        self.life = 3600.0
        self.granted = 0
        self.away = False

    def issue(self) -> Expiring:
        if self.away:
            raise AuthError("away")
        self.granted += 1
        credentials = Credentials(username="user", password=str(self.granted))
        return Expiring(credentials=credentials, expires_at=self.now + self.life)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_credentials_are_kept_until_shortly_before_their_end(cloud: Cloud) -> None:
    assert cloud().password == "1"
    cloud.now += cloud.life - RENEW_BEFORE - 1
    assert cloud().password == "1"
    cloud.now += 1
    assert cloud().password == "2"


def test_credentials_that_ended_in_the_past_are_kept_a_moment(cloud: Cloud) -> None:
    cloud.life = -1e8
    assert cloud().password == "1"
    cloud.now += MIN_LIFE - 1
    assert cloud().password == "1"
    cloud.now += 1
    assert cloud().password == "2"


def test_a_cloud_that_is_away_fails_nothing_before_the_credentials_end(cloud: Cloud) -> None:
    cloud()
    cloud.away = True
    cloud.now += cloud.life - 1
    assert cloud().password == "1"
    cloud.now += 1 + MIN_LIFE
    with pytest.raises(AuthError, match="away"):
        cloud()


def test_a_first_failure_is_raised_and_asked_again(cloud: Cloud) -> None:
    cloud.away = True
    with pytest.raises(AuthError, match="away"):
        cloud()
    cloud.away = False
    assert cloud().password == "1"


def test_threads_share_one_answer(cloud: Cloud) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(cloud().password)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["1"] * 8
    assert cloud.granted == 1
