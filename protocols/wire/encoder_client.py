"""Ask hosted encoders, from any program: needs numpy and pyzmq, no torch.

```
with EncoderClient("tcp://127.0.0.1:5573") as encoders:
    rates = encoders.predict("v4", images)
    made = encoders.synthesize("v4", "stretch", targets=["A-002"], seeds=[0, 1, 2])
```
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.utils.monitor import recv_monitor_message

from protocols.errors import LinkLost, MalformedMessage, StimloopError
from protocols.settings import validated
from protocols.vocabulary import Images, Rates, check_images
from protocols.wire import encoder_messages as msg
from protocols.wire.arrays import floats_from, images_from
from protocols.wire.channels import Context, Socket, connect
from protocols.wire.codec import Message, as_error, decode, encode, image_frames
from protocols.wire.messages import Body, Refused
from protocols.wire.security import HANDSHAKE_FAILURES, load_client_keys, not_admitted

SILENCE_S = 4.0
"""Who has heard nothing for so long connects anew and asks again, under the same id."""
PATIENCE_S = 60.0

Progress: TypeAlias = Callable[[msg.Working], None]


class SynthesizedImages(NamedTuple):
    """Images, and where each came from; `targets` are in order, seeds within each."""

    images: Images
    """`(n, size, size, 3) uint8`."""
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    predicted: Rates
    """`(n, n_sites)` spikes/s."""
    scores: NDArray[np.float64]
    """`(n,)`, in the objective's unit."""
    site_ids: tuple[str, ...]


class EncoderClient:
    """A connection to hosted encoders; for one thread, and a context manager.

    Args:
        address: `encoders` of the server's announcement.
        keys: The folder made by `synth-server keys DIR --client NAME`.
        patience_s: How long nothing at all may be heard. A server that computes is heard.
    """

    def __init__(
        self, address: str, keys: Path | None = None, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._address, self._patience_s = address, patience_s
        self._keys = load_client_keys(keys) if keys else None
        self._context: Context = zmq.Context()
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self._disconnect()
        self._context.term()

    def encoders(self) -> tuple[msg.EncoderSummary, ...]:
        """Which encoders are hosted there; raises as `predict`."""
        body = self._ask(msg.ListEncoders()).body
        return body.encoders if isinstance(body, msg.Encoders) else ()

    def predict(
        self,
        encoder: str,
        images: Images,
        *,
        deadline_s: float | None = None,
        progress: Progress | None = None,
    ) -> Rates:
        """Rates `(n, n_sites)` in spikes/s for images `(n, height, width, 3) uint8`.

        Args:
            encoder: One of `encoders()`, by name.
            images: At most 4096, and 512 MiB.
            deadline_s: Refused as `too_late` if it takes longer.
            progress: Told about once a second how the request stands.

        Raises:
            DataError: If `images` are no images.
            SettingsError: If an argument is out of range.
            Refusal: If the request is refused; `reason` says why.
            SecurityError: If this client is not admitted.
            LinkLost: If nothing is heard for `patience_s`.
        """
        check_images(images)
        shape = (images.shape[1], images.shape[2], 3)
        said = {"encoder": encoder, "image_shape": shape, "deadline_s": deadline_s}
        request = validated(msg.Predict, said, where="predict")
        message = self._ask(request, image_frames(images), progress)
        body = message.body
        if not isinstance(body, msg.Prediction) or len(message.frames) != 1:
            raise self._strange(message)
        return floats_from(message.frames[0], (body.n_images, len(body.site_ids)))

    def synthesize(
        self,
        encoder: str,
        objective: str = "stretch",
        *,
        targets: Sequence[str] = (),
        seeds: Sequence[int] = (0,),
        options: Mapping[str, Any] | None = None,
        recipe: str = "stimloop",
        size_px: int = 112,
        settings: Mapping[str, Any] | None = None,
        deadline_s: float | None = None,
        progress: Progress | None = None,
    ) -> SynthesizedImages:
        """One image for each target and seed; raises as `predict`. Ctrl-C cancels the request.

        Args:
            encoder: One of `encoders()`, by name.
            objective: `stretch`, `suppress`, `one-hot-population`, or an objective plug-in.
            targets: Sites; none means all.
            seeds: All different; the same seed gives the same image.
            options: Of the objective, such as `mean` and `sd`.
            recipe: `stimloop` or `npc`.
            size_px: Side of the images.
            settings: What replaces the recipe's, such as `{"constraints": {"grayscale": True}}`.
            deadline_s: Refused as `too_late` if it takes longer.
            progress: Told about once a second how the request stands.
        """
        wanted = {
            "encoder": encoder,
            "objective": {"name": objective, "options": dict(options or {})},
            "targets": tuple(targets),
            "seeds": tuple(seeds),
            "recipe": recipe,
            "size_px": size_px,
            "settings": dict(settings or {}),
            "deadline_s": deadline_s,
        }
        request = validated(msg.Synthesize, wanted, where="synthesize")
        message = self._ask(request, progress=progress)
        said = message.body
        if not isinstance(said, msg.Synthesized) or len(message.frames) != len(said.targets) + 2:
            raise self._strange(message)
        *images, predicted, scores = message.frames
        return SynthesizedImages(
            images_from(images, said.image_shape),
            said.targets,
            said.seeds,
            floats_from(predicted, (len(images), len(said.site_ids))),
            floats_from(scores, (len(images),)),
            said.site_ids,
        )

    # --- asking -------------------------------------------------------------------------------

    def _ask(
        self, body: Body, frames: Sequence[memoryview] = (), progress: Progress | None = None
    ) -> Message:
        """Ask until there is an answer; whatever ends the waiting early cancels the request."""
        request_id = uuid.uuid4().hex
        asked = encode(body, request_id=request_id, frames=frames)
        try:
            message = self._answer(request_id, asked, progress or _nobody)
        except BaseException:
            self._send(encode(msg.Cancel(request=request_id), request_id=uuid.uuid4().hex))
            raise
        if isinstance(message.body, Refused):
            raise as_error(message.body)
        return message

    def _answer(
        self, request_id: str, asked: list[bytes | memoryview], progress: Progress
    ) -> Message:
        heard = time.monotonic()
        self._send(asked)
        while True:
            message = self._receive(request_id, SILENCE_S)
            if message is None and time.monotonic() > heard + self._patience_s:
                raise LinkLost(
                    "the encoders do not answer",
                    where=self._address,
                    got=f"nothing for {self._patience_s:g} s",
                    remedy="is their server running, and is this its encoders' address?",
                )
            if message is None:
                self._disconnect()
                self._connect()
                self._send(asked)
                continue
            heard = time.monotonic()
            if not isinstance(message.body, msg.Working):
                return message
            progress(message.body)

    def _receive(self, request_id: str, patience_s: float) -> Message | None:
        """The next message about this request; None after silence."""
        until = time.monotonic() + min(patience_s, self._patience_s)
        while (left_s := until - time.monotonic()) > 0:
            ready = dict(self._poller.poll(1 + int(1000 * left_s)))
            if self._monitor in ready:
                self._check_admitted(recv_monitor_message(self._monitor))
            if self._socket in ready:
                message = decode(self._socket.recv_multipart(), msg.ENCODER_REPLIES)
                if message.header.reply_to in (request_id, ""):
                    return message
        return None

    def _check_admitted(self, happened: Mapping[str, Any]) -> None:
        """A handshake that failed without a reason is tried again."""
        if happened["event"] != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            raise not_admitted(happened, self._address, with_keys=self._keys is not None)

    def _send(self, frames: list[bytes | memoryview]) -> None:
        """A message that finds no room is lost; the request is sent again after silence."""
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)

    def _connect(self) -> None:
        self._socket: Socket = connect(self._context, zmq.DEALER, self._address, self._keys)
        self._monitor: Any = self._socket.get_monitor_socket(HANDSHAKE_FAILURES)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def _disconnect(self) -> None:
        """The cancellation that may just have been sent gets its chance to leave."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=200)

    def _strange(self, message: Message) -> StimloopError:
        return MalformedMessage(
            "the encoders gave a strange answer",
            where=self._address,
            got=f"{message.header.kind} with {len(message.frames)} frames",
        )


def _nobody(_working: msg.Working) -> None:
    """Where nobody wants to know."""
