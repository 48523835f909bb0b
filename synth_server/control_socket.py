"""Ask a running server over its control socket."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from protocols.errors import LinkLost, StimloopError
from protocols.wire import messages as msg
from protocols.wire.channels import Context, Socket, connect
from protocols.wire.codec import as_error, decode, encode
from protocols.wire.security import HANDSHAKE_FAILURES, load_client_keys, not_admitted

PATIENCE_S = 5.0
LONG_PATIENCE_S = 120.0
SILENT = "is it running, and is this its control address?"
BUSY = (
    "it may be computing: synth-server status answers at once, and the thread is added when that is done; "
    "sent again, it is not added twice"
)


def ask(
    command: str, address: str, session: str = "", keys: Path | None = None, text: str = ""
) -> tuple[msg.SessionStatus, ...]:
    """Send one control command; returns how the sessions are doing after it.

    Raises:
        As `request`.
    """
    kinds = {body.kind: body for body in msg.CONTROL_REQUESTS}
    body = kinds[command](**({"text": text} if command == "annotate" else {}))
    return request(body, address, session, keys)


def request(
    body: msg.Body, address: str, session: str = "", keys: Path | None = None
) -> tuple[msg.SessionStatus, ...]:
    """Send one of `messages.CONTROL_REQUESTS`; returns how the sessions are doing after it.

    Raises:
        Refusal: If the server refuses it.
        SecurityError: If the server does not admit this client.
        LinkLost: If the server does not answer within 5 s; 120 s for a thread that is to be added, whose
            first block it computes before.
    """
    is_long = isinstance(body, msg.AddThread)
    patience_s, remedy = (LONG_PATIENCE_S, BUSY) if is_long else (PATIENCE_S, SILENT)
    client_keys = load_client_keys(keys) if keys else None
    context: Context = zmq.Context()
    socket = connect(context, zmq.DEALER, address, client_keys)
    monitor: Any = socket.get_monitor_socket(HANDSHAKE_FAILURES)
    try:
        socket.send_multipart(encode(body, request_id=uuid.uuid4().hex, session=session))
        with_keys = client_keys is not None
        _await_answer(socket, monitor, address, patience_s, remedy, with_keys=with_keys)
        answer = decode(socket.recv_multipart(), msg.REPLIES).body
    finally:
        socket.disable_monitor()
        monitor.close(linger=0)
        socket.close()
        context.term()
    if isinstance(answer, msg.StatusReport):
        return answer.sessions
    if isinstance(answer, msg.Refused):
        raise as_error(answer)
    raise LinkLost("the server gave a strange answer", where=address, got=answer.kind)


def _await_answer(
    socket: Socket, monitor: Any, address: str, patience: float, remedy: str, *, with_keys: bool
) -> None:
    """Return once there is an answer; a handshake that fails without a reason is tried again."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    problem: StimloopError = LinkLost(
        "the server does not answer",
        where=address,
        remedy=remedy,
    )
    deadline = time.monotonic() + patience
    while (patience_s := deadline - time.monotonic()) > 0:
        ready = dict(poller.poll(1 + int(1000 * patience_s)))
        if socket in ready:
            return
        if monitor in ready:
            happened = recv_monitor_message(monitor)
            problem = not_admitted(happened, address, with_keys=with_keys)
            if happened["event"] != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                break
    raise problem
