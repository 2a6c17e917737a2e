"""HTTP for the clouds' libraries through our client, which honours `ca_certs`, proxies and bounds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from registry_image.errors import TransportError
from registry_image.net.client import Client
from registry_image.net.http import Reply, Request
from registry_image.net.origin import show_host
from registry_image.net.retry import ONCE

#: The most that is read of an answer, in bytes; most have a few KiB, AWS's session tokens more.
MAX_ANSWER = 1024 * 1024
#: Seconds to reach a metadata service: if there is one, it is on this machine or its hypervisor.
METADATA_CONNECT_TIMEOUT = 1.0
#: Seconds for its answer: Azure's takes some when an identity is new.
METADATA_STALL_TIMEOUT = 10.0
#: No status is an error here: the libraries know the meaning of each.
_ANY_STATUS = range(300, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SDKTransport:
    """Sends a library's requests. ``what`` begins error texts, as in `Request`."""

    client: Client
    what: str
    metadata_stall_timeout: float = METADATA_STALL_TIMEOUT

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Raises TransportError, or ContentError for an answer that is too large; never for a status.

        Only metadata services speak plain HTTP. They are on the machine, so they are reached without a proxy, and in a
        second or not at all.
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
        # No such service redirects. After a redirect of Entra's metadata, secrets would go to an address of a stranger.
        raise TransportError(f"{self.what}: refused to follow a redirect to {show_host(url)}", retryable=False)


def quieten(library: str) -> None:
    """Keeps the log of ``library`` off stderr, where Python writes warnings by default. Our error has the failure."""
    logging.getLogger(library).setLevel(logging.CRITICAL)
