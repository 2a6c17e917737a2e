"""What a failed step adds to the text of its failure."""

from __future__ import annotations

import json

import pytest

from registry_image.concourse.failure import complete
from registry_image.concourse.request.check import parse_check
from registry_image.errors import TransportError


@pytest.mark.parametrize(
    ("message", "completed"),
    [
        ("app.example: DNS: no such host", "check app: app.example: DNS: no such host"),
        ("a happy server stalled", "check app: a happy server stalled"),
        ("list tags of 1.dkr.ecr.example/app: reset", "check: list tags of 1.dkr.ecr.example/app: reset"),
        ("list tags of app: reset", "check: list tags of app: reset"),
        ("app:1: reset", "check: app:1: reset"),
        ("reset: app.", "check: reset: app."),
    ],
)
def test_a_short_name_inside_another_word_is_not_the_repository_s(message: str, completed: str) -> None:
    source = parse_check(json.dumps({"source": {"repository": "app", "aws_region": "eu-central-1"}}).encode()).source
    error = TransportError(message)
    complete(error, "check", source)
    assert error.message == completed
