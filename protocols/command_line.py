"""What both commands do around their work: look for collisions, log, and tell errors to people."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from protocols.errors import StimloopError
from protocols.installation import check_no_name_collision
from protocols.parent_process import end_with_parent

stderr = Console(stderr=True)
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def run(command: Callable[[], object]) -> None:
    """Run a command; a named error becomes a message and exit status 1, never a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        end_with_parent()
        check_no_name_collision()
        command()
    except StimloopError as error:
        stderr.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
