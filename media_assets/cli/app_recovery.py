"""The commands that recover what is left over, as they are typed; what each does is imported when it is run."""

from typing import Annotated

import typer

from media_assets.cli.app_ledger import Json

recovery_app = typer.Typer()


@recovery_app.command(
    epilog="Exit codes: 130 interrupted (143 by SIGTERM), 5 something is held because its outcome is unknown, 2 a key "
    "or a model is missing, 4 something does not get on just now: run again; 0 everything has come to an end."
)
def janitor(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; nothing is changed.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Hold what could only be cleared up later, instead of waiting.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring to its end what was begun and whose run is gone: fetch what is paid for, put back what never arrived.

    It never submits anything, so it costs nothing; it may run beside other runs, and at any time.
    """
    from media_assets.cli.janitor import run_janitor  # noqa: PLC0415

    raise typer.Exit(run_janitor(dry_run=dry_run, waits=not no_wait, json=json))
