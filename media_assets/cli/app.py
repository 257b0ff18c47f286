"""The commands as they are typed: names, options and help. What a command does is imported when it is run.

Importing this file must stay cheap: ``--help`` needs neither the ledger nor any media library.
"""

from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from media_assets.cli.app_keeping import keeping_app
from media_assets.cli.app_ledger import Json, ledger_app
from media_assets.cli.app_recovery import recovery_app
from media_assets.cli.options import (
    Caption,
    ClipS,
    File,
    Fit,
    Key,
    MaxCost,
    MaxRun,
    Motion,
    NoWait,
    Only,
    Out,
    Params,
    Policy,
    RetryFailed,
    Routes,
    Script,
    Seed,
    Size,
    Takes,
    Text,
    Upgrade,
    Voice,
)

app = typer.Typer(
    name="media-assets",
    help="A prompt and a script become a narrated film, and nothing is ever paid for twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(ledger_app, name="ledger")
app.add_typer(keeping_app)
budget_app = typer.Typer(invoke_without_command=True)
app.add_typer(budget_app, name="budget")
app.add_typer(recovery_app)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"media-assets {metadata.version('media_assets')}")
        raise typer.Exit


@app.callback()
def _global(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def demo() -> None:
    """Make a narrated film from the prompt that comes with the package: no key, no network."""
    from media_assets.cli.generate import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo())


@app.command(
    epilog="[b]--json[/b] prints one object per prompt in input order: key, home, film, cost_usd, spent_usd, degraded, "
    "deferred, steps, and error for one that was not made. Exit codes, the first that applies: 130 interrupted (143 by "
    "SIGTERM), 5 unknown outcome, 3 over budget, 2 bad input or plan, 4 any other failure, 0 done."
)
def generate(
    *,
    file: File = None,
    prompt: Text = None,
    script: Script = None,
    motion: Motion = None,
    caption: Caption = None,
    voice: Voice = None,
    key: Key = None,
    seed: Seed = None,
    size: Size = None,
    clip_s: ClipS = None,
    take: Takes = None,
    fit: Fit = None,
    route: Routes = None,
    params: Params = None,
    max_cost_usd: MaxCost = None,
    only: Only = None,
    max_run_usd: MaxRun = None,
    upgrade: Upgrade = False,
    retry_failed: RetryFailed = False,
    out: Out = None,
    no_wait: NoWait = False,
    unknown: Policy = None,
    json: Json = False,
) -> None:
    """Make the film of one prompt, or of every prompt of FILE; what is there already is taken.

    All of the input is checked first: one bad prompt refuses the whole FILE, and nothing is made.
    """
    from media_assets.cli.generate import Job, run_generate  # noqa: PLC0415

    asked = _asked(locals())
    job = Job(
        asked=asked,
        only=only or [],
        out=out,
        upgrade=upgrade,
        retry_failed=retry_failed,
        waits=not no_wait,
        max_run_usd=max_run_usd,
        unknown=unknown,
        json=json,
    )
    raise typer.Exit(run_generate(job))


@app.command(
    epilog="[b]--json[/b] prints one object per prompt as it ends, as generate does, and last {summary: {...}}. Exit "
    "codes as generate's: 5 unknown outcome, 3 over budget, 2 bad input or plan, 4 any other failure, 0 done."
)
def batch(
    file: File = None,
    *,
    max_in_flight: Annotated[
        int | None, typer.Option("--max-in-flight", metavar="N", min=1, help="Prompts worked on at once.")
    ] = None,
    max_run_usd: MaxRun = None,
    upgrade: Upgrade = False,
    retry_failed: RetryFailed = False,
    no_wait: NoWait = False,
    unknown: Policy = None,
    json: Json = False,
) -> None:
    """Make every prompt of FILE, or all that are still to be made; one bad prompt stops nobody else.

    What a cap stops stays pending, and the next batch goes on with it.
    """
    from media_assets.cli.batch import BatchJob, run_batch  # noqa: PLC0415

    job = BatchJob(
        file=file,
        max_in_flight=max_in_flight,
        max_run_usd=max_run_usd,
        unknown=unknown,
        upgrade=upgrade,
        retry_failed=retry_failed,
        waits=not no_wait,
    )
    raise typer.Exit(run_batch(job, json=json))


@app.command()
def upgrade(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The prompt, as `status` lists it.")],
    *,
    json: Json = False,
) -> None:
    """Make again only those steps of a film that a stand-in made, and what follows from them."""
    from media_assets.cli.generate import run_upgrade  # noqa: PLC0415

    raise typer.Exit(run_upgrade(key, json=json))


@app.command()
def plan(
    *,
    file: File = None,
    prompt: Text = None,
    script: Script = None,
    motion: Motion = None,
    caption: Caption = None,
    voice: Voice = None,
    key: Key = None,
    seed: Seed = None,
    size: Size = None,
    clip_s: ClipS = None,
    take: Takes = None,
    fit: Fit = None,
    route: Routes = None,
    params: Params = None,
    max_cost_usd: MaxCost = None,
    upgrade: Upgrade = False,
    json: Json = False,
) -> None:
    """Show what generate would do and cost at most, and every reason why it cannot. Free: nothing is sent."""
    from media_assets.cli.planning import run_plan  # noqa: PLC0415

    raise typer.Exit(run_plan(_asked(locals()), upgrade=upgrade, json=json))


@app.command()
def models(*, json: Json = False) -> None:
    """List the models that a route can name: price, key, and when they retire."""
    from media_assets.cli.models import run_models  # noqa: PLC0415

    raise typer.Exit(run_models(json=json))


@app.command()
def status(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="One prompt; all of them when not given.")] = None,
    *,
    json: Json = False,
) -> None:
    """Show how prompts stand: state, progress and error of each step."""
    from media_assets.cli.status import run_status  # noqa: PLC0415

    raise typer.Exit(run_status(key, json=json))


@app.command()
def doctor(*, json: Json = False) -> None:
    """Check everything a film needs on this machine; exit code 2 when something is missing."""
    from media_assets.cli.doctor import run_doctor  # noqa: PLC0415

    raise typer.Exit(run_doctor(json=json))


@budget_app.callback()
def budget(
    context: typer.Context,
    *,
    day: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The budgets of this UTC day; of today when not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Show caps, what is spent and reserved, what is left, and by what it is reserved."""
    if context.invoked_subcommand is None:
        from media_assets.cli.budget import run_budget  # noqa: PLC0415

        raise typer.Exit(run_budget(day=day, json=json))


@budget_app.command("accept")
def budget_accept(
    scopes: Annotated[list[str], typer.Argument(metavar="BUDGET...", help="As `budget` lists them.")],
    *,
    json: Json = False,
) -> None:
    """Let budgets that a bill has overrun take reservations again, once you have looked at the bill."""
    from media_assets.cli.budget import run_accept  # noqa: PLC0415

    raise typer.Exit(run_accept(scopes, json=json))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ui(context: typer.Context) -> None:
    """Open Dagster on the same state; further arguments go to dagster-webserver (--port 3001)."""
    from media_assets.cli.ui import run_ui  # noqa: PLC0415

    raise typer.Exit(run_ui(context.args))


@app.command("dagster-sync")
def dagster_sync(*, json: Json = False) -> None:
    """Report to Dagster what the ledger has, after its event log was wiped or moved. Nothing is made or bought."""
    from media_assets.cli.ui import run_dagster_sync  # noqa: PLC0415

    raise typer.Exit(run_dagster_sync(json=json))


@app.command()
def simulator(
    *,
    port: Annotated[int, typer.Option(metavar="N", help="Where it listens; 0 for a free one.")] = 8765,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides latencies, chance faults and media.")] = 0,
    time_scale: Annotated[float, typer.Option(metavar="X", help="Its seconds in one real second.")] = 1.0,
    latency: Annotated[
        list[str] | None,
        typer.Option(metavar="PROVIDER=FROM..TO", help="Seconds that a provider's runs take. Repeatable."),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON: a list of {provider, model, call, fault, times, probability}."),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keeps the log of submissions; otherwise a folder that goes with it."),
    ] = None,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print export lines that send every other command to it.")
    ] = False,
) -> None:
    """Speak the APIs of Replicate, fal, OpenAI and ElevenLabs on this machine: real media, real errors, no money."""
    from media_assets.cli.simulator import Typed, run_simulator  # noqa: PLC0415

    typed = Typed(
        port=port,
        seed=seed,
        time_scale=time_scale,
        latency=latency or (),
        faults=faults,
        state_dir=state_dir,
        print_env=print_env,
    )
    raise typer.Exit(run_simulator(typed))


def _asked(typed: dict[str, Any]) -> Any:
    """Gather the options that ``generate`` and ``plan`` share."""
    from media_assets.cli.asked import Asked  # noqa: PLC0415

    named = {"size": "size_px"}
    fields = ("prompt", "key", "script", "motion", "caption", "voice", "seed", "size", "clip_s", "fit", "max_cost_usd")
    return Asked(
        file=typed["file"],
        fields={named.get(name, name): typed[name] for name in fields},
        takes=typed["take"] or (),
        routes=typed["route"] or (),
        params=typed["params"] or (),
    )
