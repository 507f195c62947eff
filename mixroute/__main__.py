"""The command ``mixroute``, also as ``python -m mixroute``."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


# Until the command begins, Ctrl-C would be a traceback out of some import, and there is nothing yet to be put in order.
_is_command = __name__ == "__main__" or Path(sys.argv[0]).name == "mixroute"
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _exit_at_once)


def main() -> None:
    """Entry point of the command."""
    from harness.cli import main as command

    command(ready=_hand_over)


def _hand_over() -> None:
    if signal.getsignal(signal.SIGINT) is _exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    main()
