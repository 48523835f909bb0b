"""A rig in the process of whoever plays the session: display, recorder, presenter, spool; no sockets."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Acquisition, Attachment
from protocols.settings import Frozen, validated
from protocols.vocabulary import Block, BlockResponses
from rig_client.apparatus import apparatus_of
from rig_client.client import described
from rig_client.presenter import Presenter
from rig_client.settings import RigSettings
from rig_client.spool import Spool


class InProcessSettings(Frozen):
    """Which rig: what its `rig.toml` would say."""

    rig: dict[str, Any]


class InProcessRig:
    """What `rig-client run` does between its first block and its last, for one session.

    Args:
        settings: What `rig.toml` says; `server`, `session_id`, `keys` and `spool` mean nothing here.
        session: The session's id and seed.
        folder: Where the spool lies.
        recorder: In place of the one that `rig.toml` names, which is not made then.

    Raises:
        PluginError, SettingsError, RigError: From the part that cannot be made.
    """

    Settings = InProcessSettings

    def __init__(
        self,
        settings: InProcessSettings,
        session: SessionInfo,
        folder: Path,
        recorder: Acquisition | None = None,
    ) -> None:
        self._settings = validated(RigSettings, settings.rig, where="rig.toml")
        with contextlib.ExitStack() as made:
            self._apparatus = made.enter_context(
                contextlib.closing(apparatus_of(self._settings, session, recorder))
            )
            self._spool = made.enter_context(contextlib.closing(Spool(folder, session.session_id)))
            self._presenter = Presenter(
                self._apparatus, self._settings.trial, self._settings.word_bits, session.seed
            )
            self._parts = made.pop_all()

    def attachment(self) -> Attachment:
        """Who it is, its sites and its parts."""
        return Attachment(
            self._settings.rig_id,
            self._apparatus.acquisition.site_ids,
            described(self._settings, self._apparatus),
        )

    def present(self, block: Block) -> BlockResponses:
        """Show `block` to its end; what failed is shown again."""
        return self._presenter.present(block, self._spool.journal(block), lambda: False)

    def close(self) -> None:
        """Release everything."""
        self._parts.close()
