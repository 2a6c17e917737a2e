"""How the clouds' libraries speak HTTP: through our client, so that one place honours `ca_certs`, proxies and bounds.

Each library has a seam for a transport of one's own; the adapters stand beside the logins that use them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from registry_image.errors import TransportError
from registry_image.net.client import Client
from registry_image.net.http import Reply, Request
from registry_image.net.redact import show_host
from registry_image.net.retry import ONCE

#: The most that is read of an answer, in bytes; AWS signs long session tokens, IMDS and the rest answer a few KiB.
MAX_ANSWER = 1024 * 1024
#: Seconds to reach a metadata service: it is on this machine or on its hypervisor, or it is not there.
METADATA_CONNECT_TIMEOUT = 1.0
#: Seconds that it may think about a token: Azure's takes some when an identity is new.
METADATA_STALL_TIMEOUT = 10.0
#: Every refusal is an answer: the libraries know what each status means.
_ANY_STATUS = range(300, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SDKTransport:
    """Sends what a library asks it to send. ``what`` begins the text of a failure, as in `Request`."""

    client: Client
    what: str
    metadata_stall_timeout: float = METADATA_STALL_TIMEOUT

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Any answer of any status. Raises TransportError, or ContentError for an endless answer.

        Plain HTTP is spoken by metadata services only: those are on the machine, so never behind a proxy, and are
        reached in a second or not at all.
        """
        metadata = url.startswith("http://")
        request = Request(
            method=method,
            url=url,
            what=self.what,
            headers=headers,
            body=body,
            accept=_ANY_STATUS,
            policy=ONCE if metadata else None,
            connect_timeout=METADATA_CONNECT_TIMEOUT if metadata else None,
            stall_timeout=self.metadata_stall_timeout if metadata else None,
            proxy=not metadata,
            check_redirect=self._refuse,
        )
        return self.client.fetch(request, MAX_ANSWER)

    def _refuse(self, url: str) -> None:
        # None of these services redirects; and Entra's metadata names the address that secrets are then sent to.
        raise TransportError(f"{self.what}: refused to follow a redirect to {show_host(url)}", retryable=False)


def quieten(library: str) -> None:
    """Keeps what ``library`` logs off stderr, where Python puts warnings of those who set up no log: every failure
    becomes an error of ours, which says it once."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
