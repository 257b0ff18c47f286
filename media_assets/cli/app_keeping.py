"""The commands that look after what is kept, as they are typed; what each does is imported when it is run."""

from pathlib import Path
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


@keeping_app.command(
    epilog="Exit codes: 6 a bill differs from the ledger by more than 1 %, or shows what no purchase has; 4 a bill "
    "could not be had just now: run again; 0 every bill that can be read agrees."
)
def reconcile(
    *,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="NAME", help="This one; otherwise all whose key is set. Repeatable."),
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far to look back: 12h, 7d.")] = "7d",
    shared: Annotated[
        bool, typer.Option("--shared", help="Others use the account: what no purchase has is listed, and not counted.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare what the ledger says was spent with the providers' own bills. Free, and nothing is changed.

    fal tells dollars (to an admin's key), Replicate seconds and ElevenLabs characters, which are reckoned with our
    prices; OpenAI tells nothing of single predictions, so there is nothing to compare.
    """
    from media_assets.cli.reconcile import run_reconcile  # noqa: PLC0415

    raise typer.Exit(run_reconcile(providers=provider or (), since=since, shared=shared, json=json))


@keeping_app.command()
def gallery(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write it to this folder, with the films, so that it can be moved or uploaded. Otherwise gallery/ in "
            "the home, where the films are already.",
        ),
    ] = None,
    dagster_url: Annotated[
        str, typer.Option("--dagster-url", metavar="URL", help="Where links to Dagster lead; none for no links.")
    ] = "http://127.0.0.1:3000",
    json: Json = False,
) -> None:
    """Write a page of all films: players, cost, timeline, what is degraded, and what is still to be made.

    It shows prompts and scripts to everybody who can open it. Posters are drawn once.
    """
    from media_assets.cli.gallery import run_gallery  # noqa: PLC0415

    raise typer.Exit(run_gallery(out=out, dagster_url=dagster_url, json=json))


@keeping_app.command()
def report(
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="7d|YYYY-MM-DD", help="The first UTC day, or how many days there are.")
    ] = "30d",
    until: Annotated[
        str | None, typer.Option("--until", metavar="YYYY-MM-DD", help="The last UTC day; otherwise today.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="DIR|FILE.csv", help="Write one file a table, or the spending alone to FILE.csv."
        ),
    ] = None,
    charts: Annotated[Path | None, typer.Option("--charts", metavar="DIR", help="Write the charts, as PNG.")] = None,
    json: Json = False,
) -> None:
    """Tell what was spent, by day, provider, model and step, and how well that went. Free: the ledger alone is read.

    A purchase counts on the UTC day of its last submission; what a cap counts, on the day it was reserved.
    """
    from media_assets.cli.spend_report import run_report  # noqa: PLC0415

    raise typer.Exit(run_report(since=since, until=until, csv=csv, charts=charts, json=json))
