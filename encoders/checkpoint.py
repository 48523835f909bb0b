"""An encoder in a file: weights and provenance in safetensors, which can run no code.

What is kept are the readouts; the networks behind them are loaded by name, and a checkpoint is
refused if their weights or their preprocessing are not those that it was fitted with.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.backbones import load_backbone
from encoders.encoder import Scaling, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, Loader, Tap
from encoders.fitting import Candidate, FitSettings
from encoders.natural import NaturalStatistics
from encoders.two_stage import Readout
from encoders.units import UnitsEncoder, units_encoder
from encoders.units_name import PREFIX, names_units
from encoders.validation import Scores
from protocols.digests import document_digest, image_id
from protocols.errors import DataError
from protocols.replacing import replace_file
from protocols.settings import Frozen
from protocols.vocabulary import Images

CHECKPOINT_VERSION = 1
MARK = 16
"""Digits of an image's hash that tell it from others."""
PACKAGES = ("stimloop", "torch", "torchvision", "numpy", "safetensors")


class Member(Frozen):
    """Where a member takes its features, and what the network was when it was fitted."""

    tap: Tap
    weights_digest: str = Field(description="sha256 of the network's weights")
    features_digest: str = Field(description="sha256 of all that decides the features")


class Split(Frozen):
    """Which images of the recording were trained on, and which were held out to score that."""

    train: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()


def image_marks(images: Images) -> tuple[str, ...]:
    """The first digits of each image's hash, whatever recording it is part of."""
    return tuple(image_id(image)[:MARK] for image in images)


class Provenance(Frozen):
    """Where an encoder comes from."""

    data_digest: str = Field(default="", description="`Recording.digest` of what it was fitted to")
    split: Split = Split()
    refit_on_all: bool = Field(
        default=False,
        description="the weights are of a second fit, to all of the split; the scores of the first",
    )
    settings: FitSettings | None = None
    candidates: tuple[Candidate, ...] = ()
    natural: NaturalStatistics | None = Field(
        default=None, description="of the training images: what synthesis matches"
    )
    scores: Scores | None = Field(
        default=None, description="on held-out images, of the fit to `split.train` alone"
    )
    trained_on: tuple[str, ...] = Field(
        default=(), description="marks of the images behind the weights; none: not known"
    )
    notes: str = ""

    def has_seen(self, images: Images) -> NDArray[np.bool_] | None:
        """Which of these images are behind the weights, `(n,)`; None if the file does not say."""
        if not self.trained_on:
            return None
        return np.isin(image_marks(images), self.trained_on)

    @property
    def n_trained(self) -> int:
        """Images behind the weights."""
        return len(self.split.train) + (len(self.split.held_out) if self.refit_on_all else 0)


class Checkpoint(Frozen):
    """A checkpoint's metadata."""

    checkpoint_version: int
    members: tuple[Member, ...] = Field(min_length=1)
    is_ensemble: bool
    site_ids: tuple[str, ...] = Field(min_length=1)
    versions: dict[str, str]
    provenance: Provenance


FittedEncoder: TypeAlias = TwoStageEncoder | EnsembleEncoder
"""What a fit makes, and a file keeps."""
LoadedEncoder: TypeAlias = FittedEncoder | UnitsEncoder


class Loaded(NamedTuple):
    """An encoder, and what its file says about it."""

    encoder: LoadedEncoder
    about: Checkpoint


def save_encoder(
    path: Path, encoder: TwoStageEncoder | EnsembleEncoder, provenance: Provenance
) -> None:
    """Write `encoder` to `path`; the file gets its name when it is complete.

    Raises:
        DataError: If the encoder is an ensemble of something else than two-stage encoders.
    """
    members = _members(encoder)
    about = Checkpoint(
        checkpoint_version=CHECKPOINT_VERSION,
        members=tuple(
            Member(
                tap=each.tap,
                weights_digest=each.extractor.backbone.weights_digest,
                features_digest=each.extractor.digest,
            )
            for each in members
        ),
        is_ensemble=isinstance(encoder, EnsembleEncoder),
        site_ids=encoder.site_ids,
        versions={name: version(name) for name in PACKAGES},
        provenance=provenance,
    )
    tensors = {
        f"members.{number}.{name}": tensor
        for number, each in enumerate(members)
        for name, tensor in _tensors(each).items()
    }
    if isinstance(encoder, EnsembleEncoder):
        for number, scale in enumerate(encoder.predictions):
            tensors |= _named(f"predictions.{number}", scale)
        tensors |= _named("responses", encoder.responses)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(kept, part, {"stimloop": about.model_dump_json()})
    replace_file(part, path)


def load_encoder(path: Path, *, device: str = "auto", load: Loader = load_backbone) -> Loaded:
    """The encoder in `path`.

    Args:
        path: Written by `save_encoder`; or `units:NETWORK/LAYER@SIZE`, see `encoders.units`.
        device: `auto`, `cpu` or `cuda`.
        load: Makes backbones.

    Raises:
        DataError: If the file is missing, damaged, no checkpoint, or of another version, or if a
            network is not the one that the encoder was fitted with.
        InstallationError: If a network's weights cannot be had.
    """
    if names_units(path):
        units = units_encoder(path, device=device)
        return Loaded(units, _about_units(units))
    about, tensors = read_checkpoint(path)
    members = [
        _member(path, number, about, tensors, _extractor(path, member, device, load))
        for number, member in enumerate(about.members)
    ]
    if not about.is_ensemble:
        return Loaded(members[0], about)
    shape = (len(about.site_ids),)
    scales = [
        _scaling(path, tensors, f"predictions.{number}", shape) for number in range(len(members))
    ]
    responses = _scaling(path, tensors, "responses", shape)
    return Loaded(EnsembleEncoder(members, scales, responses), about)


def read_checkpoint(path: Path) -> tuple[Checkpoint, dict[str, Tensor]]:
    """A checkpoint's metadata and tensors; no network is loaded, but for units, which have no tensors.

    Raises:
        DataError: If the file is missing, damaged, no checkpoint, or of another version.
    """
    if names_units(path):
        return _about_units(units_encoder(path)), {}
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("stimloop")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _refused(
            path, "the encoder file is missing or damaged", "a whole safetensors file", error
        ) from None
    values = _metadata(path, text)
    try:
        return Checkpoint.model_validate(values), tensors
    except ValidationError as error:
        raise _refused(
            path, "the encoder file's metadata are damaged", "what save_encoder writes", error
        ) from None


def encoder_digest(path: Path) -> str:
    """Sha256 that stands for the encoder: of the file, or of all that decides a network's units.

    Raises:
        DataError: If the file cannot be read.
    """
    if names_units(path):
        about, _ = read_checkpoint(path)
        return document_digest([PREFIX, about.members[0].features_digest])
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _refused(path, "the encoder file is missing", "a file", error) from None


def _about_units(units: UnitsEncoder) -> Checkpoint:
    member = Member(
        tap=units.tap,
        weights_digest=units.extractor.backbone.weights_digest,
        features_digest=units.extractor.digest,
    )
    return Checkpoint(
        checkpoint_version=CHECKPOINT_VERSION,
        members=(member,),
        is_ensemble=False,
        site_ids=units.site_ids,
        versions={name: version(name) for name in PACKAGES},
        provenance=Provenance(notes="units of a network, fitted to nothing"),
    )


def _metadata(path: Path, text: str | None) -> dict[str, Any]:
    try:
        values = json.loads(text or "")
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        raise _refused(
            path, "the file is no encoder of stimloop", "metadata 'stimloop' in JSON", text
        )
    if values.get("checkpoint_version") != CHECKPOINT_VERSION:
        raise _refused(
            path,
            "the encoder file is of another version",
            f"checkpoint_version {CHECKPOINT_VERSION}",
            values.get("checkpoint_version"),
        )
    return values


def _extractor(path: Path, member: Member, device: str, load: Loader) -> FeatureExtractor:
    """The member's network, if it is still the same."""
    extractor = FeatureExtractor(member.tap, device=device, load=load)
    found = extractor.backbone.weights_digest
    if found != member.weights_digest:
        raise _refused(
            path,
            f"the weights of {member.tap.backbone} are not those that the encoder was fitted with",
            f"sha256 {member.weights_digest}",
            found,
        )
    if extractor.digest != member.features_digest:
        raise _refused(
            path,
            f"{member.tap.label} no longer gives the features that the encoder was fitted with",
            f"sha256 {member.features_digest}",
            extractor.digest,
        )
    return extractor


def _member(
    path: Path,
    number: int,
    about: Checkpoint,
    tensors: dict[str, Tensor],
    extractor: FeatureExtractor,
) -> TwoStageEncoder:
    def named(name: str, *shape: int) -> Tensor:
        return _tensor(path, tensors, f"members.{number}.{name}", shape)

    n_sites = len(about.site_ids)
    prefix = f"members.{number}"
    channels = named("mixing", n_sites, -1).shape[1]
    readout = Readout(
        named("masks", n_sites, -1, -1), named("mixing", n_sites, -1), named("bias", n_sites)
    )
    return TwoStageEncoder(
        extractor,
        _scaling(path, tensors, f"{prefix}.channels", (channels,)),
        readout,
        _scaling(path, tensors, f"{prefix}.responses", (n_sites,)),
        about.site_ids,
    )


def _members(encoder: TwoStageEncoder | EnsembleEncoder) -> list[TwoStageEncoder]:
    members = encoder.members if isinstance(encoder, EnsembleEncoder) else (encoder,)
    two_stage = [each for each in members if isinstance(each, TwoStageEncoder)]
    if len(two_stage) < len(members):
        raise DataError(
            "only ensembles of two-stage encoders can be saved",
            got=", ".join(type(each).__name__ for each in members),
        )
    return two_stage


def _tensors(encoder: TwoStageEncoder) -> dict[str, Tensor]:
    return {
        **encoder.readout._asdict(),
        **_named("channels", encoder.channels),
        **_named("responses", encoder.responses),
    }


def _named(prefix: str, scaling: Scaling) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in scaling._asdict().items()}


def _scaling(
    path: Path, tensors: dict[str, Tensor], prefix: str, shape: tuple[int, ...]
) -> Scaling:
    return Scaling(*(_tensor(path, tensors, f"{prefix}.{f}", shape) for f in Scaling._fields))


def _tensor(path: Path, tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of `shape` (-1: any), finite."""
    found = tensors.get(name)
    fits = found is not None and found.ndim == len(shape)
    if (
        found is None
        or not fits
        or any(want not in (-1, size) for want, size in zip(shape, found.shape, strict=True))
        or not torch.isfinite(found).all()
    ):
        got = "no such tensor" if found is None else f"{tuple(found.shape)}, or not finite"
        raise _refused(path, f"the encoder file has no sound {name}", f"{shape}, -1: any size", got)
    return found


def _refused(path: Path, what: str, expected: str, got: object) -> DataError:
    return DataError(
        what,
        where=str(path),
        expected=expected,
        got=str(got)[:200],
        remedy="fit again, or restore the file and the networks' weights",
    )
