"""Foreign layers (OCI: non-distributable), fetched from the addresses in their descriptor."""

from __future__ import annotations

from registry_image.errors import ResourceError, TransportError
from registry_image.net.client import Client
from registry_image.net.http import Request, StreamingReply
from registry_image.net.origin import internal_problem, redirect_problem, show_url
from registry_image.oci.descriptor import Descriptor
from registry_image.record import replace

#: The most addresses of one layer that are tried; real layers have one or two.
MAX_URLS = 8


def open_foreign(
    client: Client, request: Request, descriptor: Descriptor, home: str, *, insecure: bool
) -> StreamingReply:
    """Sends ``request``, for a blob that the registry ``home`` does not have, to the layer's addresses in turn.

    No credentials are sent. An image cannot make us ask an address inside our network, not even with ``insecure``,
    which only allows plain HTTP. Raises the error of the last address.
    """

    def check(url: str) -> None:
        problem = internal_problem(url, home, insecure=False) or redirect_problem(url, home, insecure=insecure)
        if problem:
            raise TransportError(f"{request.what}: refused to go to {show_url(url)}: {problem}", retryable=False)

    failure: ResourceError = TransportError(f"{request.what}: no address has this layer", retryable=False)
    for url in descriptor.urls[:MAX_URLS]:
        try:
            check(url)
            return client.open(replace(request, url=url, auth=None, check_redirect=check))
        except ResourceError as error:
            failure = error
    raise failure
