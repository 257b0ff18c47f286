"""Options that several commands share, as they are typed."""

from pathlib import Path
from typing import Annotated

import typer

_INPUT, _CHANGES = "What to make", "Changes to the prompt (with --prompt, or a FILE of one prompt)"

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Prompts as YAML, JSON, JSONL or CSV.", rich_help_panel=_INPUT),
]
Text = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TEXT", help="What the picture shows; instead of FILE.", rich_help_panel=_INPUT),
]
Script = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What the voice says. Without it: a silent film.", rich_help_panel=_CHANGES),
]
Motion = Annotated[str | None, typer.Option(metavar="TEXT", help="How the picture moves.", rich_help_panel=_CHANGES)]
Caption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Drawn into the clip, by local:ken-burns only.", rich_help_panel=_CHANGES),
]
Voice = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The speaker, in the voice model's own words.", rich_help_panel=_CHANGES),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Names the prompt everywhere; derived from it when not given.", rich_help_panel=_CHANGES
    ),
]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Makes chance repeatable.", rich_help_panel=_CHANGES)]
Size = Annotated[
    str | None, typer.Option(metavar="WxH", help="Pixels; 1024x576 when not given.", rich_help_panel=_CHANGES)
]
ClipS = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Wanted length of the moving picture.", rich_help_panel=_CHANGES)
]
Takes = Annotated[
    list[str] | None,
    typer.Option(
        "--take",
        metavar="N|STEP=N",
        help="Raise it to buy a new variation of what is there, of all steps or of one. Repeatable.",
        rich_help_panel=_CHANGES,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="hold|loop|trim|stretch",
        help="How clip and voice of different lengths become one film.",
        rich_help_panel=_CHANGES,
    ),
]
Routes = Annotated[
    list[str] | None,
    typer.Option(
        "--route",
        metavar="STEP=MODEL[,MODEL...]",
        help="Models for a step, in order. Repeatable.",
        rich_help_panel=_CHANGES,
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="STEP.PARAM=VALUE", help="A parameter of a step's model. Repeatable.", rich_help_panel=_CHANGES
    ),
]
MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost-usd", metavar="USD", help="Cap on what a prompt may cost, for every prompt of FILE."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="STEP", help="Make this step (image, video, audio, merged) and what it needs. Repeatable."),
]
Upgrade = Annotated[bool, typer.Option("--upgrade", help="Make again what a stand-in made.")]
Out = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Where the film goes (one prompt only), or a folder. Otherwise films/KEY.mp4 in the home.",
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--unknown",
        metavar="POLICY",
        help="Where nobody can know whether a submission was billed: hold, resubmit_if_cheap or fallback.",
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait", help="End with exit code 5 where a lost reply could only be cleared up later, instead of waiting."
    ),
]
MaxRun = Annotated[
    str | None,
    typer.Option("--max-run-usd", metavar="USD", help="Cap on what all of this call may cost, or none."),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try again what failed for good, which may cost money again.")
]
