"""Who may connect: loopback, or CURVE keys with every secret readable by its owner alone."""

from __future__ import annotations

import ipaddress
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from protocols.errors import SecurityError

logger = logging.getLogger(__name__)

SERVER_SECRET = "server.key_secret"
SERVER_PUBLIC = "server.key"
CLIENTS_FOLDER = "clients"
HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
"""Events of a client's socket monitor; `not_admitted` says what they mean."""


@dataclass(frozen=True)
class ServerKeys:
    """The server's key pair, and the folder of public keys that may connect."""

    public: bytes
    secret: bytes
    clients: Path


@dataclass(frozen=True)
class ClientKeys:
    """A client's key pair, and the public key of the server that it trusts."""

    public: bytes
    secret: bytes
    server_public: bytes


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine that no other can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_interface(host: str, keys: ServerKeys | None) -> None:
    """Raise `SecurityError` for an interface that others can reach, unless keys are configured."""
    if keys is None and not is_loopback(host):
        raise SecurityError(
            "without keys the server listens on loopback only",
            where=f"bind address {host}",
            expected="127.0.0.1, or CURVE keys",
            remedy="make keys with: synth-server keys DIR --client NAME; "
            "then serve with: --keys DIR",
        )


def make_server_keys(folder: Path) -> None:
    """Write a new server key pair into `folder`, the secret with mode 0600.

    Raises:
        SecurityError: If there is one already: clients trust it, so it is never overwritten.
    """
    _make_pair(folder, "server")
    (folder / CLIENTS_FOLDER).mkdir(exist_ok=True)


def make_client_keys(folder: Path, name: str) -> Path:
    """Write a key pair for the client `name`; its public key is admitted at once.

    Returns:
        The folder to carry to the client's computer: both its keys and the server's public one.
    """
    if not name.isidentifier() and not name.replace("-", "_").isidentifier():
        raise SecurityError(
            "a client's name becomes a file name", expected="letters, digits, - and _", got=name
        )
    bundle = folder / f"for-{name}"
    _make_pair(bundle, name)
    (folder / CLIENTS_FOLDER).mkdir(parents=True, exist_ok=True)
    (folder / CLIENTS_FOLDER / f"{name}.key").write_bytes((bundle / f"{name}.key").read_bytes())
    (bundle / SERVER_PUBLIC).write_bytes((folder / SERVER_PUBLIC).read_bytes())
    return bundle


def load_server_keys(folder: Path) -> ServerKeys:
    """Read what `make_server_keys` wrote."""
    public, secret = _load_pair(folder / SERVER_SECRET)
    return ServerKeys(public, secret, folder / CLIENTS_FOLDER)


def load_client_keys(folder: Path) -> ClientKeys:
    """Read the folder that `make_client_keys` returned."""
    secrets = sorted(folder.glob("*.key_secret"))
    if len(secrets) != 1:
        raise SecurityError(
            "a client's key folder holds one secret key",
            where=str(folder),
            expected="one *.key_secret",
            got=", ".join(path.name for path in secrets) or "none",
        )
    public, secret = _load_pair(secrets[0])
    server_public, _ = _read(folder / SERVER_PUBLIC)
    return ClientKeys(public, secret, server_public)


def authenticator(context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> ThreadAuthenticator:
    """Start admitting the clients whose public keys lie in `keys.clients`; stop it at the end."""
    auth = ThreadAuthenticator(context)
    auth.start()
    auth.configure_curve_callback(domain="*", credentials_provider=_Admitted(keys.clients))
    return auth


class _Admitted:
    """The folder of public keys, read at every handshake: who is added is admitted at once."""

    def __init__(self, clients: Path) -> None:
        self._clients = clients

    def callback(self, _domain: str, public_key: bytes) -> bool:
        """Whether the client that holds this key may connect."""
        known = self._known()
        if public_key not in known:
            logger.warning("not admitted: a client with the unknown key %s", public_key.decode())
        return public_key in known

    def _known(self) -> set[bytes]:
        """Every key that can be read; a file that can't is named, and keeps nobody else out."""
        known: set[bytes] = set()
        try:
            files = sorted(self._clients.glob("*.key"))
            if not self._clients.is_dir():
                raise FileNotFoundError(self._clients)
        except OSError as error:
            logger.error("nobody is admitted: %s cannot be read: %s", self._clients, error)
            return known
        for file in files:
            try:
                known.add(zmq.auth.load_certificate(file)[0])
            except (OSError, ValueError) as error:
                logger.warning(
                    "%s is left out, the other keys work: it cannot be read (%s)", file, error
                )
        return known


def not_admitted(happened: Mapping[str, Any], address: str, *, with_keys: bool) -> SecurityError:
    """What a client's monitor knows after one of `HANDSHAKE_FAILURES`."""
    if happened["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return SecurityError(
            "the server does not admit this key",
            where=address,
            remedy="on the server: synth-server keys DIR --client NAME; carry its folder here",
        )
    if happened["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH and not with_keys:
        return SecurityError(
            "connected, but not admitted: the server expects keys",
            where=address,
            remedy="name the folder made by: synth-server keys DIR --client NAME "
            "(rig.toml: keys; commands: --keys)",
        )
    if happened["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        return SecurityError(
            "connected, but not admitted: the server has no keys, this client has",
            where=address,
            remedy="start the server with --keys, or leave the keys away on loopback",
        )
    return SecurityError(
        "connected, but not admitted",
        where=address,
        expected="a stimloop server" + (", whose public key is in the key folder" * with_keys),
        got="a connection that was closed, or another protocol",
        remedy="is this the server's address"
        + (", and were the keys made by this server?" if with_keys else "?"),
    )


def _make_pair(folder: Path, name: str) -> None:
    if (folder / f"{name}.key_secret").exists():
        raise SecurityError(
            "there is a key pair already",
            where=str(folder / f"{name}.key_secret"),
            remedy="remove it by hand if it should really be replaced",
        )
    folder.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        zmq.auth.create_certificates(str(folder), name)
        (folder / f"{name}.key_secret").chmod(0o600)
    finally:
        os.umask(before)


def _load_pair(path: Path) -> tuple[bytes, bytes]:
    check_private(path)
    public, secret = _read(path)
    if secret is None:
        raise SecurityError("the file holds no secret key", where=str(path))
    return public, secret


def check_private(path: Path) -> None:
    """Raise `SecurityError` if anybody but the owner may read `path` (where the system tells)."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise SecurityError(
            "the key file cannot be read",
            where=str(path),
            got=error.strerror or error,
            remedy="make keys with: synth-server keys DIR",
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise SecurityError(
            "others may read this secret key",
            where=str(path),
            expected="mode 0600",
            got=f"mode {mode:04o}",
            remedy=f"chmod 600 {path}, and make new keys if somebody may have copied it",
        )


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(str(path))
    except (OSError, ValueError) as error:
        raise SecurityError("the key file cannot be read", where=str(path), got=error) from None
