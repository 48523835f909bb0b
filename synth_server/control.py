"""Ask a running server over its control socket."""

from __future__ import annotations

import uuid
from pathlib import Path

import zmq

from protocols.errors import LinkLost, Refusal
from protocols.wire import messages as msg
from protocols.wire.channels import Context, connect
from protocols.wire.codec import decode, encode
from protocols.wire.security import load_client_keys

PATIENCE_MS = 5000


def ask(
    command: str, address: str, session: str = "", keys: Path | None = None, text: str = ""
) -> tuple[msg.SessionStatus, ...]:
    """Send one control command; returns how the sessions are doing after it.

    Raises:
        Refusal: If the server refuses it.
        LinkLost: If the server does not answer within 5 s.
    """
    kinds = {body.kind: body for body in msg.CONTROL_REQUESTS}
    body = kinds[command](**({"text": text} if command == "annotate" else {}))
    context: Context = zmq.Context()
    socket = connect(context, zmq.DEALER, address, load_client_keys(keys) if keys else None)
    try:
        socket.send_multipart(encode(body, request_id=uuid.uuid4().hex, session=session))
        if not socket.poll(PATIENCE_MS):
            raise LinkLost(
                "the server does not answer",
                where=address,
                remedy="is this its control address, and does it expect keys (--keys)?",
            )
        answer = decode(socket.recv_multipart(), msg.REPLIES).body
    finally:
        socket.close()
        context.term()
    if isinstance(answer, msg.StatusReport):
        return answer.sessions
    if isinstance(answer, msg.Refused):
        raise Refusal(answer.reason, answer.what, expected=answer.expected, got=answer.got)
    raise LinkLost("the server gave a strange answer", where=address, got=answer.kind)
