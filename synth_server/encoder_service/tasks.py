"""What a request asks to be computed: checked when it comes in, computed when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from protocols.errors import DataError, MalformedMessage, Refusal, SettingsError, StimloopError
from protocols.vocabulary import MAX_STIMULI
from protocols.wire.arrays import check_image_frames, float_frame, images_from
from protocols.wire.codec import Message, image_frames
from protocols.wire.encoder_messages import Predict, Prediction, Synthesize, Synthesized
from protocols.wire.messages import Body, RefusalReason
from synth_server.encoder_service.hosted import Hosted
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.recipes import Recipe, recipe_of
from synth_server.synthesis.targets import UnknownSite, objectives_for

IMAGES_AT_ONCE = 64
"""Between so many images of a prediction, other predictions and a cancellation are looked for."""
MAX_SYNTHESIZED = MAX_STIMULI - 2
"""Two frames of the answer hold rates and scores."""
MAX_BATCH_PIXELS = 2**24
"""Images × height × width that may climb at once: a batch must fit into memory."""


class Answer(NamedTuple):
    """A message on its way out: its body, and its raw frames."""

    body: Body
    frames: Sequence[memoryview] = ()


Tick: TypeAlias = Callable[[int, int], None]
"""Told of (steps done, steps in all); raises to stop the computation."""
Task: TypeAlias = Callable[[Tick], Answer]


def task_for(request: Message, encoders: Mapping[str, Hosted]) -> Task:
    """What `request` asks to be computed.

    Raises:
        Refusal: If it can be known already that there will be no answer.
    """
    match request.body:
        case Predict() as body:
            return _prediction(body, request.frames, _encoder(body.encoder, encoders))
        case Synthesize() as body:
            try:
                return _synthesis(body, _encoder(body.encoder, encoders))
            except UnknownSite as error:
                raise Refusal.of(RefusalReason.UNKNOWN_SITE, error) from None
            except Refusal:
                raise
            except StimloopError as error:
                raise Refusal.of(RefusalReason.SETTINGS_REFUSED, error) from None
    raise Refusal(RefusalReason.UNKNOWN_KIND, "nothing to compute", got=request.header.kind)


def _prediction(body: Predict, frames: Sequence[bytes], hosted: Hosted) -> Task:
    try:
        check_image_frames(frames, body.image_shape)
    except MalformedMessage as error:
        raise Refusal.of(RefusalReason.MALFORMED, error) from None

    def predict(tick: Tick) -> Answer:
        rates = []
        for start in range(0, len(frames), IMAGES_AT_ONCE):
            tick(start, len(frames))
            part = images_from(frames[start : start + IMAGES_AT_ONCE], body.image_shape)
            try:
                rates.append(hosted.encoder.predict(part))
            except DataError as error:
                raise Refusal.of(RefusalReason.MALFORMED, error) from None
        found = float_frame(np.concatenate(rates))
        said = Prediction(n_images=len(frames), site_ids=hosted.encoder.site_ids)
        return Answer(said, (found,))

    return predict


def _synthesis(body: Synthesize, hosted: Hosted) -> Task:
    choice, site_ids = body.objective, hosted.encoder.site_ids
    objectives = objectives_for(
        choice.name, body.targets, site_ids, natural=hosted.natural, options=choice.options
    )
    space, settings = recipe_for(body, hosted)
    _check_size(body, settings, len(objectives))

    def ascend(tick: Tick) -> Answer:
        made = synthesize(
            hosted.encoder, objectives, space, settings, list(body.seeds), progress=tick
        )
        height, width, _ = made.images[0].shape
        said = Synthesized(
            image_shape=(height, width, 3),
            targets=made.targets,
            seeds=tuple(int(seed) for seed in made.seeds),
            site_ids=site_ids,
        )
        numbers = (float_frame(made.predicted), float_frame(made.scores))
        return Answer(said, (*image_frames(made.images), *numbers))

    return ascend


def recipe_for(body: Synthesize, hosted: Hosted) -> Recipe:
    """The recipe that `body` names, at the encoder's natural mean and contrast, as `body` changes it.

    Raises:
        SettingsError: If there is no such recipe, or a setting is unknown or out of range.
    """
    if "device" in body.settings:
        raise SettingsError("where images are computed is the server's to choose", where="settings")
    natural = hosted.natural
    return recipe_of(
        body.recipe,
        body.size_px,
        moments=(natural.mean, natural.rms_contrast) if natural else None,
        changes={**body.settings, "device": str(hosted.encoder.device)},
        where="settings",
    )


def _check_size(body: Synthesize, settings: AscentSettings, n_targets: int) -> None:
    n_images = n_targets * len(body.seeds)
    if n_images > MAX_SYNTHESIZED:
        raise Refusal(
            RefusalReason.TOO_LARGE,
            "these are more images than one answer holds",
            expected=f"at most {MAX_SYNTHESIZED} targets × seeds",
            got=n_images,
            remedy="ask for some of the targets at a time",
        )
    together = max(settings.batch_size, len(body.seeds) if settings.diversity else 0)
    pixels = min(together, n_images) * body.size_px**2
    if pixels > MAX_BATCH_PIXELS:
        raise Refusal(
            RefusalReason.TOO_LARGE,
            "these images are too large to climb together",
            expected=f"at most {MAX_BATCH_PIXELS} pixels: batch_size × size_px²",
            got=pixels,
            remedy="ask for a smaller settings.batch_size",
        )


def _encoder(name: str, encoders: Mapping[str, Hosted]) -> Hosted:
    if name not in encoders:
        raise Refusal(
            RefusalReason.UNKNOWN_ENCODER,
            "no encoder of this name is hosted here",
            expected=", ".join(encoders),
            got=name,
        )
    return encoders[name]
