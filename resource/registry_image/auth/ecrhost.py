"""The host names of Amazon's registries. Imports no AWS library."""

from __future__ import annotations

import re
from dataclasses import dataclass

ECR_PUBLIC = "public.ecr.aws"
#: The region of ECR Public's registries; its API is in few others.
ECR_PUBLIC_REGION = "us-east-1"

#: The suffix of each partition's hosts, by the beginning of its regions (botocore, endpoints.json, `dnsSuffix`).
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
        """None unless ``host`` is a registry of ECR."""
        match = _HOST.fullmatch(host)
        if match is None:
            return None
        account, separator, fips, region, suffix = match.groups()
        registry = cls(account=account, region=region.lower(), fips=bool(fips), dual_stack=separator == "-")
        # Any other suffix than the partition's is not Amazon's, and must not get our token.
        return registry if registry.suffix == suffix.lower() else None

    @property
    def suffix(self) -> str:
        table, default = (_DUAL_STACK_SUFFIXES, _DUAL_STACK_SUFFIX) if self.dual_stack else (_SUFFIXES, _SUFFIX)
        return next((suffix for start, suffix in table.items() if self.region.startswith(start)), default)

    def __str__(self) -> str:
        separator, fips = "-" if self.dual_stack else ".", "-fips" if self.fips else ""
        return f"{self.account}.dkr{separator}ecr{fips}.{self.region}.{self.suffix}"


def is_ecr(host: str) -> bool:
    """Whether ``host`` is a private registry of ECR."""
    # The search for "ecr" saves compiling the expression for most hosts.
    return "ecr" in host and ECRHost.parse(host) is not None


def is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether ``text`` has the form of a region; it becomes a part of host names."""
    return _REGION.fullmatch(text) is not None
