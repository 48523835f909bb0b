"""Knowing where the subject looks: eye trackers, and the window that gaze must not leave."""

from rig_client.fixation.none import NoFixation

__all__ = ["NoFixation"]
