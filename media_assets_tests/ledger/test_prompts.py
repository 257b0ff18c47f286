"""Prompts as they are pinned, with their takes, plans and finished steps."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.errors import BudgetExceededError, LedgerError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.clock import utc_now
from media_assets.ledger.pins import Arrival, PinnedPrompt, readable
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.schema import plan, prompt, step
from media_assets.prompt import Prompt, Step
from media_assets_tests.making import cheap_prompt


def _pin(ledger: Ledger, *prompts: Prompt) -> list[Prompt]:
    return ledger.prompts.pin(prompts, source="film.yaml")


def _pinned(ledger: Ledger, key: str = "cheap") -> PinnedPrompt:
    found = ledger.prompts.get(key)
    assert found is not None
    return found


def test_a_pinned_prompt_comes_back_as_it_was(ledger: Ledger) -> None:
    """A run finds its prompt only here: what is lost on the way in is lost to every film."""
    wanted = cheap_prompt(
        prompt='a "quoted" 🗼 %{n} \n שלום',
        script=None,
        take={"video": 3},
        max_cost_usd="0.10",
        seed=0,
    )

    assert _pin(ledger, wanted) == [wanted]

    pinned = _pinned(ledger)
    assert pinned.prompt == wanted
    assert (pinned.pin_seq, pinned.status, pinned.source, pinned.error) == (1, "pending", "film.yaml", None)


def test_pinning_an_unchanged_prompt_changes_nothing(ledger: Ledger) -> None:
    """A sensor pins the same files every minute; that must start no run and touch no status."""
    _pin(ledger, cheap_prompt())
    ledger.prompts.set_status(cheap_prompt(), "done")
    before = _pinned(ledger)

    _pin(ledger, cheap_prompt())

    assert _pinned(ledger) == before


def test_a_changed_prompt_is_pinned_anew(ledger: Ledger) -> None:
    """Its sequence number tells a run that it was started for something else."""
    _pin(ledger, cheap_prompt())
    ledger.prompts.set_status(cheap_prompt(), "failed", {"class": "X", "message": "m"})

    _pin(ledger, cheap_prompt(script="Something else."))

    pinned = _pinned(ledger)
    assert (pinned.prompt.script, pinned.pin_seq, pinned.status, pinned.error) == (
        "Something else.",
        2,
        "pending",
        None,
    )


def test_pinning_many_answers_in_their_order(ledger: Ledger) -> None:
    """Known and new ones come mixed, and callers go on with what comes back."""
    first, second, third = (cheap_prompt(key=key) for key in ("c", "a", "b"))
    _pin(ledger, first, third)

    assert [one.key for one in _pin(ledger, first, second, third)] == ["c", "a", "b"]
    assert ledger.prompts.keys() == [one.key for one in ledger.prompts.every()] == ["a", "b", "c"]


def test_nothing_is_pinned_under_an_unknown_key(ledger: Ledger) -> None:
    """Callers ask before they act."""
    assert ledger.prompts.get("cheap") is None
    assert ledger.prompts.raise_takes("cheap", [Step.VIDEO], origin="run-1") is None


def _raise(ledger: Ledger, *steps: Step, origin: str, key: str = "cheap") -> tuple[Prompt, str]:
    raised = ledger.prompts.raise_takes(key, steps, origin=origin)
    assert raised is not None
    return raised


def test_a_new_take_is_given_once_for_each_origin(ledger: Ledger) -> None:
    """A retry of the run that asked for a new take must not buy another one."""
    _pin(ledger, cheap_prompt())

    takes = []
    for origin in ("run-1", "run-1", "run-2"):
        raised, pinned_digest = _raise(ledger, Step.VIDEO, origin=origin)
        assert pinned_digest == _pinned(ledger).prompt.digest
        takes.append((raised.take_of(Step.VIDEO), raised.take_of(Step.IMAGE), _pinned(ledger).pin_seq))

    assert takes == [(1, 0, 2), (1, 0, 2), (2, 0, 3)]
    assert _pinned(ledger).prompt.take_of(Step.VIDEO) == 2


def test_a_new_take_survives_the_file_being_read_again(ledger: Ledger) -> None:
    """The file still says take 0; that is no wish to go back to the old film."""
    _pin(ledger, cheap_prompt())
    raised, _ = _raise(ledger, Step.VIDEO, origin="run-1")

    assert _pin(ledger, cheap_prompt()) == [raised]
    assert ledger.prompts.effective(cheap_prompt()) == raised
    assert _pin(ledger, cheap_prompt(script="New.")) == [cheap_prompt(script="New.")]


def test_effective_pins_nothing(ledger: Ledger) -> None:
    """A plan is free and writes nothing."""
    assert ledger.prompts.effective(cheap_prompt()) == cheap_prompt()
    assert ledger.prompts.keys() == []


def test_a_status_is_recorded_with_its_error_and_cleared_with_the_next(ledger: Ledger) -> None:
    """`status` shows it to people, so an old error beside a new success would mislead."""
    _pin(ledger, cheap_prompt())
    error = {"class": "JudgeError", "message": "all black ■", "rerun": "never", "billed": "no"}

    ledger.prompts.set_status(cheap_prompt(), "failed", error)
    failed = _pinned(ledger)
    ledger.prompts.set_status(cheap_prompt(), "done")
    done = _pinned(ledger)

    assert (failed.status, failed.error) == ("failed", error)
    assert (done.status, done.error) == ("done", None)


def test_an_open_plan_shows_as_running(ledger: Ledger) -> None:
    """Whoever looks from elsewhere sees that somebody is at work."""
    _pin(ledger, cheap_prompt())

    ledger.prompts.open_plan("1", "cheap", amounts={}, caps=[], digest=cheap_prompt().digest)

    assert _pinned(ledger).status == "running"


def _finished(request_key: str, *, degraded: bool = False) -> FinishedStep:
    return FinishedStep(
        step=Step.VIDEO,
        request_key=request_key,
        model="local:ken-burns",
        inputs={"image": "i"},
        degraded=degraded,
        reason="fallback" if degraded else None,
    )


def test_a_finished_step_is_found_by_what_was_asked_for(ledger: Ledger) -> None:
    """A changed prompt that is changed back finds what it had."""
    for digest in ("d1", "d2"):
        ledger.prompts.finish("cheap", digest, _finished(f"r-{digest}"), sha256="s", params={"fps": 2})

    assert ledger.prompts.finished("cheap") == {
        (Step.VIDEO, "d1"): _finished("r-d1"),
        (Step.VIDEO, "d2"): _finished("r-d2"),
    }
    assert ledger.prompts.finished("other") == {}


def test_a_step_made_again_takes_the_place_of_the_old(ledger: Ledger) -> None:
    """An upgrade must not leave the degraded step to be found."""
    ledger.prompts.finish("cheap", "d", _finished("old", degraded=True), sha256="s", params={})
    ledger.prompts.finish("cheap", "d", _finished("new"), sha256="t", params={})

    assert ledger.prompts.finished("cheap") == {(Step.VIDEO, "d"): _finished("new")}


def test_everything_outlives_the_process(tmp_path: Path) -> None:
    """The ledger is the truth: another process finds exactly what this one wrote."""
    with open_ledger(tmp_path) as writing:
        _pin(writing, cheap_prompt())
        writing.prompts.finish("cheap", "d", _finished("r", degraded=True), sha256="s", params={})

    with open_ledger(tmp_path) as reading:
        assert _pinned(reading).prompt == cheap_prompt()
        assert reading.prompts.finished("cheap") == {(Step.VIDEO, "d"): _finished("r", degraded=True)}


def test_a_refused_plan_leaves_the_status_alone(ledger: Ledger) -> None:
    """Nothing ran, so nothing may show as running."""
    _pin(ledger, cheap_prompt())

    with pytest.raises(BudgetExceededError):
        ledger.prompts.open_plan("1", "cheap", amounts={Step.IMAGE: 2}, caps=[Cap("prompt:cheap", 1, "max_cost_usd")])

    assert _pinned(ledger).status == "pending"


def test_a_new_take_is_one_that_nobody_had(ledger: Ledger) -> None:
    """A retry gets its own take again, and the next request for something new gets something new."""
    _pin(ledger, cheap_prompt())

    def taken(origin: str) -> int:
        return _raise(ledger, Step.IMAGE, origin=origin)[0].take_of(Step.IMAGE)

    assert [taken(origin) for origin in ("run 1", "run 2", "run 1", "run 3")] == [1, 2, 1, 3]
    assert _pinned(ledger).prompt.take_of(Step.IMAGE) == 3


def test_a_prompt_that_another_version_pinned_says_how_to_mend_it(ledger: Ledger) -> None:
    """A film must not fail with a list of missing fields that nobody wrote."""
    _pin(ledger, cheap_prompt())
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE prompt SET body = '{}'")

    with pytest.raises(LedgerError, match="pin its file again"):
        ledger.prompts.get("cheap")
    assert ledger.prompts.keys() == ["cheap"], "the others can still be listed"


def test_what_comes_through_the_inbox_has_a_place_in_one_order(ledger: Ledger) -> None:
    """A prompt that was pinned otherwise arrives when it comes there too, as the same one; so does one in a hurry."""
    first, second = cheap_prompt(key="first"), cheap_prompt(key="second")
    _pin(ledger, first)
    ledger.prompts.pin([second, first], source="inbox", arrival=Arrival())
    ledger.prompts.pin([first], source="inbox", arrival=Arrival())
    seen = [(one.key, one.arrived, one.pin_seq) for one in readable(ledger.prompts.arrived_after(0, most=9))]
    ledger.prompts.pin([second], source="inbox", arrival=Arrival(priority=3))

    assert seen == [("second", 1, 1), ("first", 2, 1)]
    (again,) = readable(ledger.prompts.arrived_after(2, most=9))
    assert (again.prompt.key, again.arrived, again.pin_seq, again.priority) == ("second", 3, 1, 3)
    assert _pin(ledger, first) == [first], "and whoever pins it otherwise changes nothing"
    assert [one.key for one in ledger.prompts.waiting()] == ["second", "first"]


def test_a_finished_step_is_written_down_whole(ledger: Ledger) -> None:
    """And comes back whole; one of an older version has gone past nothing, and has nothing to say."""
    done = FinishedStep(
        step=Step.VIDEO,
        request_key="r",
        model="fal:kling",
        inputs={"image": "i"},
        degraded=True,
        reason="too dear",
        gone_past=("x", "y"),
        notes=("no caption ■",),
    )
    before = utc_now()
    ledger.prompts.finish("cheap", "d", done, sha256="s", params={"fps": 2, "a": "b"})

    with ledger.database.read() as connection:
        (row,) = connection.execute(sa.select(step)).mappings()
    assert before <= row["created_at"] <= utc_now()
    assert {name: value for name, value in row.items() if name != "created_at"} == {
        "prompt_key": "cheap",
        "digest": "d",
        "step": "video",
        "request_key": "r",
        "sha256": "s",
        "model": "fal:kling",
        "params": '{"a":"b","fps":2}',
        "inputs": '{"image":"i"}',
        "degraded": True,
        "reason": "too dear",
        "gone_past": '["x", "y"]',
        "notes": '["no caption ■"]',
    }
    assert ledger.prompts.finished("cheap") == {(Step.VIDEO, "d"): done}
    with ledger.database.write() as connection:
        connection.execute(sa.update(step).values(gone_past=None, notes=None))
    (old,) = ledger.prompts.finished("cheap").values()
    assert (old.gone_past, old.notes) == ((), ())


def test_steps_of_one_prompt_are_told_the_older_ones_first(ledger: Ledger) -> None:
    """And making one anew replaces that one: not the same step of another wish, nor of another prompt."""
    for key, digest in (("cheap", "d2"), ("cheap", "d1"), ("other", "d2"), ("cheap", "d3"), ("cheap", "d2")):
        ledger.prompts.finish(key, digest, _finished(f"r-{key}"), sha256="s", params={})
    image = FinishedStep(step=Step.IMAGE, request_key="i", model="m", inputs={}, degraded=False, reason=None)
    ledger.prompts.finish("cheap", "d1", image, sha256="s", params={})

    assert list(ledger.prompts.finished("cheap")) == [
        (Step.VIDEO, "d1"),
        (Step.VIDEO, "d3"),
        (Step.VIDEO, "d2"),
        (Step.IMAGE, "d1"),
    ]
    assert list(ledger.prompts.finished("other")) == [(Step.VIDEO, "d2")]


def test_a_pin_is_written_down_whole(ledger: Ledger) -> None:
    """A changed one keeps its place in the queue and counts on; what was said of the one before is gone."""
    one, changed = cheap_prompt(), cheap_prompt(script="Else.")
    _pin(ledger, one)
    with ledger.database.write() as connection:
        connection.execute(sa.update(prompt).values(priority=5, error='{"class": "X"}', updated_at="2026"))

    ledger.prompts.pin([changed], source="bad \udc80 name")

    with ledger.database.read() as connection:
        (row,) = connection.execute(sa.select(prompt)).mappings()
    assert row["updated_at"] > "2026-"
    assert {name: value for name, value in row.items() if name != "updated_at"} == {
        "key": "cheap",
        "digest": changed.digest,
        "pin_seq": 2,
        "body": changed.model_dump_json(),
        "source_digest": changed.digest,
        "source": "bad \\udc80 name",
        "priority": 5,
        "arrived": None,
        "status": "pending",
        "error": None,
    }


def test_a_retry_takes_no_newer_take_back(ledger: Ledger) -> None:
    """The first run's take is what it works with; what is pinned is the newest, and another prompt's is its own."""
    _pin(ledger, cheap_prompt(), cheap_prompt(key="other"))
    for origin in ("1", "2"):
        ledger.prompts.raise_takes("cheap", [Step.IMAGE], origin=origin)
    ledger.prompts.set_status(_pinned(ledger).prompt, "done")

    again, pinned_digest = _raise(ledger, Step.IMAGE, origin="1")
    other, _ = _raise(ledger, Step.IMAGE, Step.VIDEO, origin="1", key="other")

    assert again.digest != pinned_digest == _pinned(ledger).prompt.digest
    assert (again.take_of(Step.IMAGE), other.take_of(Step.IMAGE), other.take_of(Step.VIDEO)) == (1, 1, 1)
    assert other.take_of(Step.AUDIO) == 0
    now = _pinned(ledger)
    assert (now.prompt.take_of(Step.IMAGE), now.pin_seq, now.status) == (2, 3, "done")
    video, _ = _raise(ledger, Step.VIDEO, origin="3")
    assert video.take_of(Step.VIDEO) == 1, "each step counts for itself"


def test_a_status_is_of_the_prompt_that_was_made(ledger: Ledger) -> None:
    """One that was changed meanwhile is not done; and what is told twice is written once."""
    ledger.prompts.set_status(cheap_prompt(), "done")
    assert ledger.prompts.keys() == []
    _pin(ledger, cheap_prompt())
    ledger.prompts.set_status(cheap_prompt(script="Else."), "done")
    assert _pinned(ledger).status == "pending"
    ledger.prompts.set_status(cheap_prompt(), "failed", {"class": "X"})
    before = _pinned(ledger)
    ledger.prompts.set_status(cheap_prompt(), "failed", {"class": "X"})
    assert _pinned(ledger) == before
    ledger.prompts.set_status(cheap_prompt(), "failed", {"class": "Y"})
    after = _pinned(ledger)
    assert (after.error, after.updated_at > before.updated_at) == ({"class": "Y"}, True)


def test_a_plan_of_another_wish_marks_nothing(ledger: Ledger) -> None:
    """Whoever plans for what was pinned before must not show the new one as running."""
    _pin(ledger, cheap_prompt(), cheap_prompt(key="other"))

    ledger.prompts.open_plan("1", "cheap", amounts={}, caps=[], digest="another")

    assert [_pinned(ledger, key).status for key in ("cheap", "other")] == ["pending", "pending"]
    ledger.prompts.set_status(cheap_prompt(), "failed", {"class": "X"})
    with ledger.database.write() as connection:
        connection.execute(sa.update(prompt).values(updated_at="2020"))
    ledger.prompts.open_plan("2", "cheap", amounts={}, caps=[], digest=cheap_prompt().digest)
    assert [_pinned(ledger, key).status for key in ("cheap", "other")] == ["running", "pending"]
    assert (_pinned(ledger).error, _pinned(ledger).updated_at > "2021") == (None, True)
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(plan.c.id, plan.c.owner, plan.c.prompt_key).order_by(plan.c.id)).all()
    assert [tuple(row) for row in rows] == [(name, ledger.owner.id, "cheap") for name in "12"]


def test_plans_that_this_process_is_not_at_work_on_are_closed(ledger: Ledger) -> None:
    """One that could not be ended, or was never opened; and no other."""
    caps = [Cap("prompt:cheap", 10, "max_cost_usd")]
    ledger.prompts.open_plan("open", "cheap", amounts={Step.IMAGE: 3}, caps=caps)
    with pytest.raises(BudgetExceededError):
        ledger.prompts.open_plan("refused", "cheap", amounts={Step.IMAGE: 8}, caps=caps)
    with ledger.database.write() as connection:
        mine = {"owner": ledger.owner.id, "prompt_key": "cheap", "created_at": ""}
        connection.execute(sa.insert(plan).values(id="refused", **mine))
    assert ledger.prompts.close_dead_plans() == 1
    ledger.prompts.close_plan("open")
    with ledger.database.write() as connection:
        connection.execute(sa.insert(plan).values(id="open", **mine))

    assert ledger.prompts.close_dead_plans() == 1
    assert ledger.prompts.close_dead_plans() == 0
