"""azure-core's transport over our client. Imported only by those who have decided to import azure-identity."""

from __future__ import annotations

from types import TracebackType
from urllib.parse import urlencode

from azure.core.pipeline.transport import HttpResponse, HttpTransport
from azure.core.rest import HttpRequest
from azure.core.utils import case_insensitive_dict

from registry_image.auth.sdkhttp import SDKTransport


class AzureTransport(HttpTransport[HttpRequest, HttpResponse]):
    """Leaves everything but sending to the client; ``sleep`` is between the library's own tries."""

    def __init__(self, http: SDKTransport) -> None:
        self._http = http

    def send(self, request: HttpRequest, **_: object) -> HttpResponse:
        content = request.content
        if isinstance(content, dict):
            body: bytes | None = urlencode(content).encode("ascii")
        else:
            body = content.encode() if isinstance(content, str) else content
        answer = self._http.send(request.method, request.url, request.headers, body)
        return _Response(request, answer.status, dict(answer.headers.lines()), answer.body)

    def sleep(self, duration: float) -> None:
        self._http.client.clock.sleep(duration)

    def open(self) -> None:
        """The client is open."""

    def close(self) -> None:
        """The client is not ours to close."""

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()


class _Response(HttpResponse):
    def __init__(self, request: HttpRequest, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(request, None)  # type: ignore[arg-type]  # only kept, for whoever reads the response
        self.status_code = status
        self.headers = case_insensitive_dict(headers)
        self.content_type = headers.get("content-type")
        self._body = body

    def body(self) -> bytes:
        return self._body
