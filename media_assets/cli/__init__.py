"""``media-assets``, the command line. Its commands are in ``app.py``; each does its work in a file of its own."""

import signal
import sys
from collections.abc import Sequence

from media_assets.cli.app import app
from media_assets.cli.exit_codes import exit_code_of
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.cli.output import complain, prepare_output, say
from media_assets.errors import MediaAssetsError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; what went wrong is told in words, never by a traceback."""
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    INTERRUPTS.finish()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    prepare_output()
    INTERRUPTS.install()
    try:
        app(arguments, prog_name="media-assets")
    except SystemExit as end:
        # Typer ends every command so; its own code for a bad command line is 2.
        return end.code if isinstance(end.code, int) else 0
    except Interrupted as interrupted:
        return _interrupted(interrupted)
    except MediaAssetsError as error:
        complain(error)
        return exit_code_of([error])
    except Exception:
        if INTERRUPTS.told is None:
            raise
        return _interrupted(INTERRUPTS.told)
    return 0


def _interrupted(interrupted: Interrupted) -> int:
    say(f"interrupted by {signal.Signals(interrupted.number).name}; nothing is lost, run again to go on.")
    return interrupted.exit_code
