"""The commands of ``media-assets ledger`` as they are typed; what each does is imported when it is run."""

from pathlib import Path
from typing import Annotated

import typer

ledger_app = typer.Typer(help="What was bought: one row a purchase.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, and nothing else.")]
RequestKey = Annotated[str, typer.Argument(metavar="REQUEST_KEY", help="Its first characters are enough.")]


@ledger_app.command("list")
def ledger_list(
    *,
    prompt: Annotated[str | None, typer.Option(metavar="KEY", help="Only what this prompt uses.")] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Only purchases in this state.")] = None,
    json: Json = False,
) -> None:
    """List purchases, oldest first."""
    from media_assets.cli.ledger import run_list  # noqa: PLC0415

    raise typer.Exit(run_list(prompt_key=prompt, state=state, json=json))


@ledger_app.command("show")
def ledger_show(
    request_key: RequestKey,
    *,
    json: Json = False,
) -> None:
    """Show one purchase: what was asked for, every attempt, what it cost, what went wrong."""
    from media_assets.cli.ledger import run_show  # noqa: PLC0415

    raise typer.Exit(run_show(request_key, json=json))


@ledger_app.command("unknown")
def ledger_unknown(*, json: Json = False) -> None:
    """List the purchases of which nobody knows whether they were billed, and what to do about each."""
    from media_assets.cli.decide import run_unknown  # noqa: PLC0415

    raise typer.Exit(run_unknown(json=json))


@ledger_app.command("adopt")
def ledger_adopt(
    request_key: RequestKey,
    prediction_id: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="As the provider's site shows it.")],
    *,
    json: Json = False,
) -> None:
    """Say which prediction at the provider an unknown purchase became; it is fetched by the next run, free."""
    from media_assets.cli.decide import run_adopt  # noqa: PLC0415

    raise typer.Exit(run_adopt(request_key, prediction_id, json=json))


@ledger_app.command("resubmit")
def ledger_resubmit(request_key: RequestKey, *, json: Json = False) -> None:
    """Say that an unknown purchase never reached the provider, so that the next run submits it again.

    One that has a prediction did reach it, and is refused: it may have been billed.
    """
    from media_assets.cli.decide import run_resubmit  # noqa: PLC0415

    raise typer.Exit(run_resubmit(request_key, json=json))


@ledger_app.command("write-off")
def ledger_write_off(
    request_key: RequestKey,
    *,
    cost_usd: Annotated[
        str | None, typer.Option("--cost-usd", metavar="USD", help="What was billed; otherwise the worst case counts.")
    ] = None,
    json: Json = False,
) -> None:
    """Say that an unknown purchase was billed and its output is not to be had; its cost counts as spent."""
    from media_assets.cli.decide import run_write_off  # noqa: PLC0415

    raise typer.Exit(run_write_off(request_key, cost_usd=cost_usd, json=json))


@ledger_app.command("accept")
def ledger_accept(request_key: RequestKey, *, json: Json = False) -> None:
    """Say that a paid file that was judged not good enough is fine."""
    from media_assets.cli.decide import run_accept  # noqa: PLC0415

    raise typer.Exit(run_accept(request_key, json=json))


@ledger_app.command("export")
def ledger_export(
    *,
    form: Annotated[str, typer.Option("--format", metavar="jsonl|csv", help="Amounts are exact, as text.")] = "jsonl",
    since: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what was asked for from this UTC day on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what was asked for up to the end of this UTC day.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written whole or not at all; otherwise standard output.")
    ] = None,
) -> None:
    """Write one line a purchase, for accounting. In CSV an apostrophe keeps a text from being taken for a formula."""
    from media_assets.cli.export import run_export  # noqa: PLC0415

    raise typer.Exit(run_export(form=form, since=since, until=until, output=output))


@ledger_app.command("verify")
def ledger_verify(
    *,
    no_hash: Annotated[
        bool, typer.Option("--no-hash", help="Compare the sizes of files only; reading them whole takes its time.")
    ] = False,
    json: Json = False,
) -> None:
    """Look whether ledger, files and budgets agree, and say what to do where they do not. Exit code 6: they do not.

    It changes nothing, and work may go on meanwhile.
    """
    from media_assets.cli.verify import run_verify  # noqa: PLC0415

    raise typer.Exit(run_verify(hashes=not no_hash, json=json))
