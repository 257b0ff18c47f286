"""``budget``, and what a cap does to the other commands: what fits is made, the rest is deferred and told."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media_assets.ledger import open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.prompt import Step
from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli, Ended
from media_assets_tests.ledger.money import buy, micro, open_plan
from media_assets_tests.simulated import Market, open_market

PICTURE_USD = "0.003"
"""What a picture of ``fal:flux-schnell`` costs at most."""

TODAY = datetime.now(UTC).date()
DAY = f"day:{TODAY}"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _shop(cli: Cli, market: Market, *arguments: str | Path, **environment: str) -> Ended:
    return cli(*arguments, **{**market.simulator.environment(), "MEDIA_ASSETS_POLL_INTERVAL_S": "0.02", **environment})


def _pictures(path: Path, count: int) -> Path:
    rows = [
        {"key": f"p-{number}", "prompt": f"picture {number}", "seed": number, "routes": {"image": ["fal:flux-schnell"]}}
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_nothing_spent_is_told_without_making_anything(cli: Cli) -> None:
    """The caps that will hold are known before the first film; a question leaves no ledger behind."""
    told = cli("budget", "--json").only()
    shown = cli("budget", MEDIA_ASSETS_FAL_MAX_DAY_USD="2")

    assert told == {
        "home": str(cli.home),
        "day": str(TODAY),
        "budgets": [
            {
                "scope": DAY,
                "cap_usd": "5",
                "spent_usd": "0",
                "reserved_usd": "0",
                "left_usd": "5",
                "setting": "MEDIA_ASSETS_MAX_DAY_USD",
                "overrun": None,
            }
        ],
        "reserved": [],
    }
    assert f"provider:fal:{TODAY}" in shown.out
    assert "at most 1 USD (MEDIA_ASSETS_MAX_COST_USD)" in shown.out
    assert not cli.home.exists()


def test_those_that_fit_are_made_and_the_others_stay_pending(cli: Cli, market: Market, tmp_path: Path) -> None:
    """A night's list and money for two: two pictures, exit code 3, and nothing that has failed."""
    file = _pictures(tmp_path / "prompts.jsonl", 4)
    cap = {"MEDIA_ASSETS_MAX_DAY_USD": "0.0085"}

    ended = _shop(cli, market, "generate", file, "--only", "image", "--json", **cap)
    statuses = [one for one in cli("status", "--json").objects() if one["deferred"]]
    table = cli("status")
    (budget,) = [one for one in cli("budget", "--json", **cap).only()["budgets"] if one["scope"] == DAY]
    again = _shop(cli, market, "generate", file, "--only", "image", "--json", MEDIA_ASSETS_MAX_DAY_USD="1")

    films = ended.objects()
    assert ended.code == 3
    assert [film["deferred"] for film in films].count(True) == 2
    assert {film["error"]["class"] for film in films if film["deferred"]} == {"BudgetExceededError"}
    assert "deferred: p-" in ended.err
    assert "MEDIA_ASSETS_MAX_DAY_USD" in ended.err
    assert [(one["state"], one["error"]["class"]) for one in statuses] == [("pending", "BudgetExceededError")] * 2
    assert "pending (deferred)" in table.out
    assert (budget["spent_usd"], budget["left_usd"], budget["cap_usd"]) == ("0.006", "0.0025", "0.0085")
    assert (again.code, len(market.accepted())) == (0, 4)


def test_a_run_has_its_cap_on_the_command_line(cli: Cli, market: Market, tmp_path: Path) -> None:
    """--max-cost-usd is each prompt's, --max-run-usd is that of them all."""
    file = _pictures(tmp_path / "prompts.jsonl", 3)

    ended = _shop(cli, market, "generate", file, "--only", "image", "--max-run-usd", "0.004", "--json")
    lifted = ("--max-run-usd", "none")
    free = _shop(cli, market, "generate", file, "--only", "image", *lifted, MEDIA_ASSETS_MAX_RUN_USD="0")

    assert [film["deferred"] for film in ended.objects()].count(True) == 2
    assert "MEDIA_ASSETS_MAX_RUN_USD (--max-run-usd)" in ended.err
    assert (ended.code, free.code) == (3, 0)


@pytest.mark.parametrize("typed", ["much", "-1", "1e3", ""])
def test_a_run_cap_that_is_none_refuses_before_anything_is_made(cli: Cli, typed: str) -> None:
    """A cap that reads as something else than was meant is no cap."""
    ended = cli("generate", "--prompt", "a", "--max-run-usd", typed, *CHEAP_OPTIONS)

    assert ended.code == 2
    assert "--max-run-usd" in ended.err
    assert not cli.home.exists()


def test_the_plan_has_a_problem_for_each_cap(cli: Cli, market: Market, tmp_path: Path) -> None:
    """All of them at once, each with the setting to change."""
    file = _pictures(tmp_path / "prompts.jsonl", 1)
    caps = {"MAX_COST_USD": "0.001", "MAX_RUN_USD": "0.001", "MAX_DAY_USD": "0.001", "FAL_MAX_DAY_USD": "0.001"}

    ended = _shop(cli, market, "plan", file, "--json", **{f"MEDIA_ASSETS_{name}": cap for name, cap in caps.items()})

    problems = ended.only()["problems"]
    assert ended.code == 2
    assert [problem["field"] for problem in problems] == ["budget"] * 4
    assert all(any(f"MEDIA_ASSETS_{name}" in problem["message"] for problem in problems) for name in caps)


def test_what_holds_money_is_told_by_prompt_step_and_purchase(cli: Cli, market: Market, tmp_path: Path) -> None:
    """A lost reply holds its worst case; the table says whom to ask."""
    market.set_faults({"provider": "fal", "call": "submit", "fault": "exec_and_drop"})
    file = _pictures(tmp_path / "one.jsonl", 1)
    lost = _shop(cli, market, "generate", file, "--only", "image", "--no-wait", "--json")

    told = cli("budget", "--json").only()
    shown = cli("budget")

    assert lost.code == 5
    (held,) = told["reserved"]
    assert (held["prompt_key"], held["step"], held["model"]) == ("p-0", "image", "fal:flux-schnell")
    assert (held["state"], held["amount_usd"], held["owner_alive"]) == ("UNKNOWN", PICTURE_USD, False)
    assert held["scopes"] == [DAY, "prompt:p-0", f"provider:fal:{TODAY}"]
    assert [one["reserved_usd"] for one in told["budgets"]] == [PICTURE_USD] * 3
    assert held["request_key"][:12] in shown.out


def _overrun(home: Path) -> str:
    caps = [Cap(DAY, micro("5"), "cap"), Cap("prompt:cheap", micro("1"), "cap")]
    with open_ledger(home) as ledger:
        return buy(ledger, "0.20", caps, billed_usd="0.50")


def test_an_overrun_is_told_everywhere_until_it_is_accepted(cli: Cli, market: Market, tmp_path: Path) -> None:
    """It blocks, it says why, and it takes one command to lift it, which does not forgive what was spent."""
    request_key = _overrun(cli.home)
    file = _pictures(tmp_path / "one.jsonl", 1)

    blocked = _shop(cli, market, "generate", file, "--only", "image", "--json")
    doctor = {check["name"]: check for check in cli("doctor", "--json").only()["checks"]}["budget"]
    told = {one["scope"]: one for one in cli("budget", "--json").only()["budgets"]}
    shown = cli("budget")
    accepted = cli("budget", "accept", DAY, "prompt:cheap")
    free = _shop(cli, market, "generate", file, "--only", "image", "--json")
    after = cli("budget", "--json").only()["budgets"][0]

    assert (blocked.code, free.code, accepted.code) == (3, 0, 0)
    assert f"{DAY} is overrun: the purchase {request_key[:12]} of testing:any" in blocked.err
    assert (doctor["level"], f"budget accept {DAY} prompt:cheap" in doctor["message"]) == ("warn", True)
    assert told[DAY]["overrun"] == {"too_much_usd": "0.3", "request_key": request_key, "model": "testing:any"}
    assert told["prompt:cheap"]["overrun"] == told[DAY]["overrun"]
    assert "Nothing more is reserved under it" in shown.out
    assert (after["spent_usd"], after["overrun"]) == ("0.503", None)


def test_only_what_is_overrun_can_be_accepted(cli: Cli) -> None:
    """A misspelt budget must not read as accepted, nor accept the others named with it."""
    nothing = cli("budget", "accept", DAY)
    _overrun(cli.home)

    misspelt = cli("budget", "accept", DAY, "day:2026-13-99")
    told = {one["scope"]: one["overrun"] for one in cli("budget", "--json").only()["budgets"]}
    accepted = cli("budget", "accept", DAY, "--json")

    assert (nothing.code, misspelt.code, accepted.code) == (2, 2, 0)
    assert f"Overrun budgets: {DAY}, prompt:cheap" in misspelt.err
    assert told[DAY] is not None
    assert accepted.only() == {"scope": DAY, "accepted": True}


def test_another_day_is_told_on_demand(cli: Cli) -> None:
    """With the caps that held then, and without what is open now; today's settings say nothing of it."""
    with open_ledger(cli.home) as ledger:
        buy(ledger, "0.20", [Cap("day:2026-11-22", micro("3"), "cap")])
        open_plan(ledger, "0.20", [Cap("prompt:open-now", micro("3"), "cap")])

    told = cli("budget", "--day", "2026-11-22", "--json").only()
    empty = cli("budget", "--day", "2026-11-21")
    wrong = cli("budget", "--day", "yesterday", "--json")

    (budget,) = told["budgets"]
    assert told["day"] == "2026-11-22"
    assert (budget["cap_usd"], budget["spent_usd"], budget["left_usd"]) == ("3", "0.2", "2.8")
    assert "nothing was reserved on this day" in empty.out
    assert wrong.code == 2
    assert "YYYY-MM-DD" in wrong.only()["error"]["message"]


def test_what_is_planned_is_told_while_a_film_is_made(cli: Cli) -> None:
    """Before its purchases exist, a plan holds the whole chain's money."""
    with open_ledger(cli.home) as ledger:
        amounts = {Step.IMAGE: micro("0.10"), Step.VIDEO: micro("0.20")}
        ledger.prompts.open_plan("p", "boat", amounts=amounts, caps=[Cap(DAY, micro("5"), "cap")])
        told = cli("budget", "--json").only()
        shown = cli("budget")

    assert [(one["prompt_key"], one["step"], one["state"]) for one in told["reserved"]] == [
        ("boat", "image", "PLANNED"),
        ("boat", "video", "PLANNED"),
    ]
    assert [one["request_key"] for one in told["reserved"]] == [None, None]
    assert "planned" in shown.out
