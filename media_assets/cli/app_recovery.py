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


@recovery_app.command(
    epilog="Exit codes: 130 interrupted (143 by SIGTERM), 2 bad input or no key, 4 a list or a file could not be had "
    "just now: run again; 0 all that is still there is here, and what is gone is said."
)
def rescue(
    *,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="NAME", help="Ask this one; otherwise all whose key is set. Repeatable."),
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far to look back: 30m, 1h, 2d.")] = "1h",
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint", metavar="NAME", help="A further endpoint of fal's, which has to be named. Repeatable."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only.")] = False,
    json: Json = False,
) -> None:
    """Pull what your accounts have finished and no purchase of the ledger has, into rescued/ in the home.

    It works on accounts that never used this project, for any model, and costs nothing. Hurry: Replicate deletes
    outputs an hour after they were made.
    """
    from media_assets.cli.rescue import Typed, run_rescue  # noqa: PLC0415

    typed = Typed(providers=provider or (), since=since, endpoints=endpoint or (), dry_run=dry_run, json=json)
    raise typer.Exit(run_rescue(typed, json=json))
