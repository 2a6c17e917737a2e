"""The names of Amazon's registries: which host is one, and what an account's is called. Pure; imports no AWS."""

from __future__ import annotations

import re
from dataclasses import dataclass

ECR_PUBLIC = "public.ecr.aws"
#: ECR Public's API is in few regions; this one is where its registries live.
ECR_PUBLIC_REGION = "us-east-1"

#: What each partition's hosts end in, by how its regions begin (botocore, endpoints.json, `dnsSuffix`).
_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
_SUFFIX = "amazonaws.com"
_DUAL_STACK_SUFFIXES = {"cn-": "on.amazonwebservices.com.cn", "eusc-": "on.amazonwebservices.eu"}
_DUAL_STACK_SUFFIX = "on.aws"

_HOST = re.compile(
    r"([0-9]{12})\.dkr([.-])ecr(-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2})\.([a-z0-9.-]+)", re.ASCII | re.IGNORECASE
)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ECRHost:
    """A private registry: ``<account>.dkr.ecr[-fips].<region>.<suffix>``, or ``<account>.dkr-ecr…`` with IPv6."""

    account: str
    region: str
    fips: bool = False
    dual_stack: bool = False

    @classmethod
    def parse(cls, host: str) -> ECRHost | None:
        """None unless ``host`` is a registry of ECR and its suffix is that of its region's partition."""
        match = _HOST.fullmatch(host)
        if match is None:
            return None
        account, separator, fips, region, suffix = match.groups()
        found = cls(account=account, region=region.lower(), fips=bool(fips), dual_stack=separator == "-")
        # A suffix that is somebody else's must not be sent a token of ours.
        return found if found.suffix == suffix.lower() else None

    @property
    def suffix(self) -> str:
        table, default = (_DUAL_STACK_SUFFIXES, _DUAL_STACK_SUFFIX) if self.dual_stack else (_SUFFIXES, _SUFFIX)
        return next((suffix for start, suffix in table.items() if self.region.startswith(start)), default)

    def __str__(self) -> str:
        separator, fips = "-" if self.dual_stack else ".", "-fips" if self.fips else ""
        return f"{self.account}.dkr{separator}ecr{fips}.{self.region}.{self.suffix}"


def is_ecr(host: str) -> bool:
    """Whether ``host`` is a private registry of ECR."""
    # Most hosts are not: without the search the expression would be compiled at every check.
    return "ecr" in host and ECRHost.parse(host) is not None


def is_account(text: str) -> bool:
    """Whether it is an AWS account's number: twelve digits, leading zeros and all."""
    return _ACCOUNT.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether it could be a region's name: it becomes part of host names."""
    return _REGION.fullmatch(text) is not None
