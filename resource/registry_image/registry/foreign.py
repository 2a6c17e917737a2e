"""Layers that a registry may not distribute: fetched from the addresses that their descriptor names."""

from __future__ import annotations

from dataclasses import replace

from registry_image.errors import ResourceError, TransportError
from registry_image.net.client import Client
from registry_image.net.http import Request, StreamingReply
from registry_image.net.origin import redirect_problem
from registry_image.net.redact import show_url
from registry_image.oci.descriptor import Descriptor

#: The most addresses of one layer that are tried; real ones have one or two.
MAX_URLS = 8


def open_foreign(
    client: Client, request: Request, descriptor: Descriptor, home: str, *, insecure: bool
) -> StreamingReply:
    """``request``, which found nothing at the registry ``home``, asked of the first of the layer's addresses to answer.

    No credentials go along, and whoever made the image cannot make us ask an address inside our network. Raises what
    the last of them came to.
    """

    def check(url: str) -> None:
        problem = redirect_problem(url, home, insecure=insecure)
        if problem:
            raise TransportError(f"{request.what}: refused to go to {show_url(url)}: {problem}", retryable=False)

    failure: ResourceError = TransportError(f"{request.what}: it is nowhere to be had", retryable=False)
    for url in descriptor.urls[:MAX_URLS]:
        try:
            check(url)
            return client.open(replace(request, url=url, auth=None, check_redirect=check))
        except ResourceError as error:
            failure = error
    raise failure
