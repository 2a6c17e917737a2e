"""moto as AWS: STS, ECR, IAM and the metadata service of an instance, with signatures and policies checked or not."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from botocore.session import Session

from tests.support.process import server

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "222222222222"
REGION = "us-east-1"
#: bcrypt of the password of moto's ECR for ACCOUNT, "123456789012-auth-token".
HTPASSWD = "AWS:$2b$04$abcdefghijklmnopqrstuu/cMn6kFoLFEf9ShbIPSVtJoiKQtizZG\n"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/puller"
"""May ask for a token, and assume FARTHER_ROLE."""
FARTHER_ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/farther"
"""May do everything with its account's ECR."""
POOR_ROLE = f"arn:aws:iam::{ACCOUNT}:role/poor"
"""May be assumed, and may do nothing."""


Answer: TypeAlias = dict[str, dict[str, str]]
Service: TypeAlias = Callable[..., Answer]
"""Called with the name of an operation and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AWS:
    """A running moto, and the keys of a user who may use ECR and assume ROLE and POOR_ROLE."""

    url: str
    access_key: str
    secret_key: str = field(repr=False)

    def service(self, name: str) -> Service:
        """A service of the server itself, with the user's keys."""
        return _service(self.url, name, self.access_key, self.secret_key)


@contextlib.contextmanager
def moto(*, checking: bool) -> Iterator[AWS]:
    """Runs moto until the block is left. Without ``checking`` it accepts every signature and allows everything."""
    with server([sys.executable, "-c", "from moto.server import main; main()", "-p", "0"]) as running:
        found = re.search(r"http://\S+", running.wait_for("Running on"))
        assert found is not None
        access_key, secret_key = _settle(found[0])
        if checking:
            # Like INITIAL_NO_AUTH_ACTION_COUNT in the environment, but from now on.
            plain = {"Content-Type": "text/plain"}
            request = urllib.request.Request(f"{found[0]}/moto-api/reset-auth", b"0", plain)  # noqa: S310 (our own server)
            urllib.request.urlopen(request, timeout=60).close()  # noqa: S310
        yield AWS(url=found[0], access_key=access_key, secret_key=secret_key)


def _settle(url: str) -> tuple[str, str]:
    iam = _service(url, "iam", "AKIAIOSFODNN7EXAMPLE", "anything")
    iam("create_user", UserName="user")
    allowed = _policy("ecr:*"), _policy("sts:AssumeRole", ROLE, POOR_ROLE)
    for number, policy in enumerate(allowed):
        iam("put_user_policy", UserName="user", PolicyName=str(number), PolicyDocument=policy)
    _role(iam, ROLE, _policy("ecr:GetAuthorizationToken"), _policy("sts:AssumeRole", FARTHER_ROLE))
    _role(iam, POOR_ROLE)
    sts = _service(url, "sts", "AKIAIOSFODNN7EXAMPLE", "anything")
    other = sts("assume_role", RoleArn=f"arn:aws:iam::{OTHER_ACCOUNT}:role/setup", RoleSessionName="setup")[
        "Credentials"
    ]
    _role(
        _service(url, "iam", other["AccessKeyId"], other["SecretAccessKey"], other["SessionToken"]),
        FARTHER_ROLE,
        _policy("ecr:*"),
    )
    key = iam("create_access_key", UserName="user")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def _role(iam: Service, arn: str, *policies: str) -> None:
    name = arn.rpartition("/")[2]
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    iam(
        "create_role",
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    for number, policy in enumerate(policies):
        iam("put_role_policy", RoleName=name, PolicyName=str(number), PolicyDocument=policy)


def _policy(action: str, *resources: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resources or "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _service(url: str, name: str, access_key: str, secret_key: str, token: str | None = None) -> Service:
    client = Session().create_client(
        name,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
    )

    def ask(operation: str, **arguments: str) -> Answer:
        answer: Answer = getattr(client, operation)(**arguments)
        return answer

    return ask
