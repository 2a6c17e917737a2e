"""azure-core's transport over our client. Importing it imports azure-core."""

from __future__ import annotations

from urllib.parse import urlencode

from azure.core.pipeline.transport import HttpResponse, HttpTransport
from azure.core.rest import HttpRequest
from azure.core.utils import case_insensitive_dict

from registry_image.auth.sdkhttp import SDKTransport


class AzureTransport(HttpTransport[HttpRequest, HttpResponse]):
    def __init__(self, http: SDKTransport) -> None:
        self._http = http

    def send(self, request: HttpRequest, **_: object) -> HttpResponse:
        content = request.content
        if isinstance(content, dict):
            body: bytes | None = urlencode(content).encode("ascii")
        else:
            body = content.encode() if isinstance(content, str) else content
        reply = self._http.send(request.method, request.url, request.headers, body)
        return _Response(request, reply.status, dict(reply.headers.lines()), reply.body)

    def sleep(self, duration: float) -> None:
        self._http.client.clock.sleep(duration)

    def open(self) -> None:
        """Does nothing: the client is open."""

    def close(self) -> None:
        """Does nothing: the client has other users."""

    def __exit__(self, *_: object) -> None:
        self.close()


class _Response(HttpResponse):
    def __init__(self, request: HttpRequest, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(request, None)  # type: ignore[arg-type]  # azure-core only keeps it
        self.status_code = status
        self.headers = case_insensitive_dict(headers)
        self.content_type = headers.get("content-type")
        self._body = body

    def body(self) -> bytes:
        return self._body
