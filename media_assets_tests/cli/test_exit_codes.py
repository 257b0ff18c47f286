"""Exit codes: the first that applies, on ledgers that really stand so."""

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery, load_catalog
from media_assets.cli.exit_codes import exit_code_of
from media_assets.errors import (
    BudgetExceededError,
    ConfigurationError,
    JudgeError,
    MediaAssetsError,
    PlanError,
    PredictionFailedError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.ledger.claims import Claim
from media_assets.ledger.schema import budget
from media_assets.prompt import Prompt
from media_assets.steps import draft_image
from media_assets.studio import open_studio
from media_assets_tests.cli.running import CHEAP, Cli, write_prompts

_UNKNOWN, _BUDGET = UnknownOutcomeError("u"), BudgetExceededError("b")
_INPUT, _FAILED = ConfigurationError("c"), PredictionFailedError("f")


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([_FAILED], 4),
        ([JudgeError("j")], 4),
        ([_FAILED, _INPUT], 2),
        ([PlanError("p", problems=())], 2),
        ([_INPUT, _FAILED, _BUDGET], 3),
        ([_BUDGET, _INPUT, _UNKNOWN, _FAILED], 5),
    ],
)
def test_the_first_code_that_applies_wins(errors: list[MediaAssetsError], code: int) -> None:
    """A script branches on this number: money that may be gone must never hide behind a typing error."""
    assert exit_code_of(errors) == code


def _end_picture_badly(home: Path, prompt: Prompt, error: MediaAssetsError) -> None:
    """Leave a purchase of the prompt's picture as a provider that costs money would have left it."""
    request = draft_image(prompt, load_catalog().get("local:landscape")).request
    with open_studio(home) as studio:
        purchases = studio.ledger.purchases
        claim = purchases.claim(
            request, recovery=Recovery.NONE, prompt_key=prompt.key, plan_id="", estimate_micro_usd=30_000
        )
        assert isinstance(claim, Claim)
        token = purchases.write_intent(claim)
        if isinstance(error, UnknownOutcomeError):
            purchases.write_unknown(claim, error)
        else:
            purchases.write_failed(claim, token, error, outcome="rejected")


def _lower_cap(home: Path, key: str) -> None:
    """Leave a prompt's budget with five dollars spent."""
    with open_studio(home) as studio, studio.ledger.database.write() as connection:
        row = {"scope": f"prompt:{key}", "cap_micro_usd": 9_000_000, "reserved_micro_usd": 0}
        connection.execute(sa.insert(budget).values(**row, spent_micro_usd=5_000_000, overrun=False))


def test_failures_of_every_kind_end_a_run_with_their_code(cli: Cli, tmp_path: Path) -> None:
    """One bad prompt never sinks a batch, and the code tells of the worst that happened to any."""
    rows = [{**CHEAP, "key": key, "prompt": key} for key in ("fine", "failed", "dear", "lost")]
    prompts = {str(row["key"]): Prompt.model_validate(row) for row in rows}
    _end_picture_badly(cli.home, prompts["failed"], PredictionFailedError("no", rerun=Rerun.NEVER))
    _end_picture_badly(cli.home, prompts["lost"], UnknownOutcomeError("the reply was lost."))
    _lower_cap(cli.home, "dear")

    failed = cli("generate", write_prompts(tmp_path / "1.jsonl", rows[1]), "--json")
    dear = cli("generate", write_prompts(tmp_path / "2.jsonl", rows[2]), "--max-cost-usd", "1", "--json")
    lost = cli("generate", write_prompts(tmp_path / "3.jsonl", rows[3]), "--json")
    batch = cli("generate", write_prompts(tmp_path / "4.jsonl", *rows), "--json", MEDIA_ASSETS_MAX_COST_USD="1")

    # What is free is made under any cap; code 3 for what is not is in the table above.
    assert (failed.code, dear.code, lost.code, batch.code) == (4, 0, 5, 5)
    assert failed.only()["error"]["class"] == "PredictionFailedError"
    assert "--retry-failed" in failed.err
    assert lost.only()["error"] == {
        "class": "UnknownOutcomeError",
        "message": "the reply was lost.",
        "rerun": "ask",
        "billed": "unknown",
    }
    assert "It may have been billed." in lost.err
    assert [(one["key"], one["film"] is not None) for one in batch.objects()] == [
        ("fine", True),
        ("failed", False),
        ("dear", True),
        ("lost", False),
    ]


def test_status_and_ledger_show_what_a_person_has_to_decide(cli: Cli, tmp_path: Path) -> None:
    """An undecided purchase stays listed until somebody decides, with its estimate and the reason."""
    prompt = Prompt.model_validate({**CHEAP, "key": "lost", "prompt": "lost"})
    _end_picture_badly(cli.home, prompt, UnknownOutcomeError("the reply was lost."))
    cli("generate", write_prompts(tmp_path / "prompts.jsonl", {"key": "lost", "prompt": "lost"}), "--json")

    status = cli("status", "lost", "--json").only()
    listed = cli("ledger", "list", "--state", "unknown", "--json").only()
    shown = cli("ledger", "show", listed["request_key"][:8], "--json").only()

    assert (status["state"], status["error"]["class"]) == ("failed", "UnknownOutcomeError")
    assert (status["steps"][0]["state"], status["steps"][0]["error"]["billed"]) == ("unknown", "unknown")
    assert (Decimal(listed["estimate_usd"]), listed["cost_usd"]) == (Decimal("0.03"), None)
    assert shown["request"]["params"]["prompt"] == "lost"
    assert shown["error"]["message"] == "the reply was lost."
    assert [attempt["n"] for attempt in shown["attempt_log"]] == [1]
    assert not any("token" in attempt for attempt in shown["attempt_log"])


def test_a_home_that_cannot_be_opened_fails_every_prompt_in_words(cli: Cli, tmp_path: Path) -> None:
    """Storage trouble is neither bad input nor a traceback."""
    (tmp_path / "home").write_text("a file is in the way")

    ended = cli("generate", "--prompt", "a", "--key", "a", "--json")
    listed = cli("ledger", "list", MEDIA_ASSETS_LEDGER_URL=f"sqlite:///{tmp_path}/home/x/ledger.db")

    assert ended.code == 4
    assert ended.only()["key"] == "a"
    assert ended.err.startswith("error: ")
    assert listed.code == 0
