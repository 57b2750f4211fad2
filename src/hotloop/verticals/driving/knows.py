"""What was learned, as one bundle of bytes."""

from __future__ import annotations

import msgspec

from hotloop.errors import ModelError
from hotloop.types import UNREADABLE


class Knows(msgspec.Struct, frozen=True):
    """What was learned of motion, scenes and cases."""

    format: int = 1

    @classmethod
    def start(cls) -> Knows:
        """Nothing learned yet."""
        return cls()

    def to_bytes(self) -> bytes:
        """Itself as canonical bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Knows:
        """What `to_bytes` wrote. ModelError."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except UNREADABLE as error:
            raise ModelError(f"what was learned of driving cannot be read ({error}): use another copy") from error
