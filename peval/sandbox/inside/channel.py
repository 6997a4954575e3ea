"""Messages over a stream socket: four bytes of length, then JSON."""

from __future__ import annotations

import socket
from typing import Any

from .codec import MAX_BYTES, MalformedError, dumps, loads


class ClosedError(Exception):
    """The other end is gone."""


class Channel:
    """One end of a socket pair."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self._ahead = bytearray()

    def send(self, message: Any) -> None:
        """Send what `codec.dumps` can write."""
        self.send_bytes(dumps(message))

    def send_bytes(self, text: bytes) -> None:
        """Send a message that is already JSON, of any size."""
        try:
            self.sock.sendall(len(text).to_bytes(4, "big") + text)
        except (BrokenPipeError, ConnectionResetError):
            raise ClosedError from None

    def receive(self, max_bytes: int = MAX_BYTES + 2**16) -> Any:
        """Return the next message, or raise `ClosedError` or `MalformedError`."""
        size = int.from_bytes(self._read(4), "big")
        if size > max_bytes:
            raise MalformedError("a message longer than any that is allowed")
        return loads(self._read(size))

    def _read(self, size: int) -> bytes:
        parts = self._ahead
        while len(parts) < size:
            try:
                part = self.sock.recv(max(2**16, min(size - len(parts), 2**20)))
            except ConnectionResetError:
                raise ClosedError from None
            if not part:
                raise ClosedError
            parts += part
        self._ahead = parts[size:]
        return bytes(parts[:size])
