"""The wire between server and rig: messages, their bytes, and the sockets that carry them.

Specified in `docs/reference/wire.md`, for clients in any language.
"""

from protocols.wire.messages import WIRE_VERSION

__all__ = ["WIRE_VERSION"]
