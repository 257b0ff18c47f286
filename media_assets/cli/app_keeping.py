"""The commands that look after what is kept, as they are typed; what each does is imported when it is run."""

from typing import Annotated

import typer

from media_assets.cli.app_ledger import Json

keeping_app = typer.Typer()


@keeping_app.command("gc")
def collect(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    delete_paid_older_than: Annotated[
        str | None,
        typer.Option(
            "--delete-paid-older-than",
            metavar="DAYS",
            help="Also delete paid files that were bought so long ago and that no pinned prompt is made of. They are "
            "not bought again by themselves.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Remove what nothing needs any more: old versions of free files, and what processes that died have left.

    Paid files are kept, unless --delete-paid-older-than says otherwise.
    """
    from media_assets.cli.gc import run_gc  # noqa: PLC0415

    raise typer.Exit(run_gc(dry_run=dry_run, paid_days=delete_paid_older_than, json=json))
