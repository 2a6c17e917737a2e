"""urllib3's pools, with our way to connect and our bounds on the heads of answers."""

from __future__ import annotations

import socket
from typing import cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

from registry_image.net.dial import dial
from registry_image.net.head import Response


class _Connection(HTTPConnection):
    response_class = Response

    def connect(self) -> None:
        """A handshake, with a proxy or of TLS, has the time to connect. urllib3 would say that the answer did not come
        in the time for one."""
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no handshake in time") from error

    def _new_conn(self) -> socket.socket:
        """Takes the place of urllib3's, with the same errors."""
        timeout = cast("float", self.timeout)  # the adapter always has one
        try:
            return dial(self._dns_host.strip("[]"), self.port, timeout, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise LocationParseError(self.host) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no address answered") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _SecureConnection(_Connection, HTTPSConnection):
    """A connection over TLS."""


class Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


#: For urllib3's PoolManager.
POOLS = {"http": Pool, "https": SecurePool}
