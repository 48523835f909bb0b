"""Settings: frozen, checked, read from TOML, with errors that a person can act on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocols.errors import SettingsError
from protocols.text_files import read_text
from protocols.toml_advice import WINDOWS_PATHS, toml_advice, wrong_line

DRIVE = re.compile(r"[A-Za-z]:")
CONTROLS = frozenset(map(chr, range(32))) | {"\x7f"}


class Frozen(BaseModel):
    """Base of every model: immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )


class PluginChoice(Frozen):
    """A plug-in by name, with its options.

    In TOML: `generator = { name = "fourier", options = { size_px = 128 } }`. A subclass that names
    its `group` has its options checked, and their defaults written out, when a session begins.
    """

    group: ClassVar[str] = ""
    name: str = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)


class GeneratorChoice(PluginChoice):
    """An image generator."""

    group: ClassVar[str] = "stimloop.generators"


class OptimizerChoice(PluginChoice):
    """An optimizer."""

    group: ClassVar[str] = "stimloop.optimizers"


class ObjectiveChoice(PluginChoice):
    """An objective."""

    group: ClassVar[str] = "stimloop.objectives"


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    """Validate `values` as `model`; every problem is named by its path in the settings.

    Raises:
        SettingsError: If a value is missing, unknown or out of range.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(
            f"{len(error.errors())} setting(s) of {model.__name__} are wrong",
            where=where,
            got="; ".join(_problem(entry) for entry in error.errors()),
            remedy=f"known settings: {', '.join(sorted(model.model_fields))}",
        ) from None


def read_toml(model: type[Model], path: Path) -> Model:
    """Read a TOML file as `model`.

    Raises:
        SettingsError: If the file is missing, is not TOML, or does not fit the model.
    """
    try:
        text = read_text(path)
        values = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(
            "the settings file cannot be read", where=str(path), got=error.strerror or error
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError("the settings file is no text", where=str(path), got=error) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            "the settings file is not TOML",
            where=str(path),
            got=f"{error}: {line}" if (line := wrong_line(text, str(error))) else error,
            remedy=toml_advice(line, str(error)),
        ) from None
    check_paths(values, where=str(path))
    return validated(model, values, where=str(path))


def check_paths(values: Any, *, where: str) -> None:
    r"""Refuse a text in which `"D:\new\tmp"` has become a line end and a tab.

    Raises:
        SettingsError: If a text begins with a drive and has a control character. (What is sent over a
            serial line may have some, and is no path.)
    """
    for path, text in _texts(values, ""):
        if DRIVE.match(text) and CONTROLS & set(text):
            raise SettingsError(
                "a backslash in a text has become a control character",
                where=f"{where}, {path}",
                expected="a path with / or in single quotes",
                got=repr(text),
                remedy=WINDOWS_PATHS,
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, path)


def from_command_line(changes: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """`NAME=VALUE` of the command line as nested tables; names may have dots, values are TOML.

    Args:
        changes: The assignments.
        option: What they were given with, for errors.

    Raises:
        SettingsError: If one is no assignment, or its value is not TOML.
    """
    values: dict[str, Any] = {}
    for change in changes:
        try:
            values = merged(values, read := tomllib.loads(change))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(
                "this is no setting with a value",
                where=f"{option} {change}",
                expected="NAME=VALUE in TOML: n_seeds=3, images='photographs.zip'",
                got=error,
                remedy=WINDOWS_PATHS if "\\" in change else "",
            ) from None
        check_paths(read, where=f"{option} {change}")
    return values


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it; tables within tables are merged as well."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value)
        else:
            result[name] = value
    return result


def _problem(entry: Any) -> str:
    path = ".".join(str(part) for part in entry["loc"]) or "(top level)"
    got = "" if entry["type"] == "missing" else f" (got {entry['input']!r:.80})"
    return f"{path}: {entry['msg']}{got}"
