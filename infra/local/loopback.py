"""What the fakes answer by: an HTTP server on loopback whose clients may hang, go away, or be cut off."""

import contextlib
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """A server that can let go of every client at once.

    Attributes:
        stopping: set when the server is about to end; handlers that hang wait for it.
        accepted: connections so far.
    """

    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        request, address = super().get_request()
        with self._open_lock:
            self._open.add(request)
            self.accepted += 1
        return request, address

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client went away: clients that lose patience are what these servers are for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def cut_off(self) -> None:
        """End every open connection, so that no thread goes on waiting for a request."""
        with self._open_lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
