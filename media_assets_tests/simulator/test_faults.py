"""Fault rules: which call they befall, how often, and what is said of a rule that cannot work."""

from typing import Any

import pytest

from media_assets.errors import ConfigurationError
from media_assets.simulator.faults import CALLS, FAULTS, Faults
from media_assets.simulator.options import PROVIDERS


def _taken(faults: Faults, *, provider: str = "fal", model: str = "m", call: str = "submit") -> str | None:
    fault = faults.take(provider, model, call)
    return fault.name if fault else None


def test_a_rule_of_nothing_but_a_fault_befalls_every_call_that_it_can() -> None:
    faults = Faults([{"fault": "exec_and_500"}], 0)

    befallen = {(provider, call) for provider in PROVIDERS for call in CALLS if faults.take(provider, "", call)}

    assert befallen == {(provider, call) for provider in PROVIDERS for call in ("submit", "cancel", "upload")}


def test_a_rule_passes_over_providers_that_know_no_such_fault() -> None:
    faults = Faults([{"fault": "aborted"}], 0)

    assert [provider for provider in PROVIDERS if _taken(faults, provider=provider)] == ["replicate"]


@pytest.mark.parametrize("field", ["provider", "model", "call"])
def test_a_rule_befalls_only_what_it_names(field: str) -> None:
    named = {"provider": "fal", "model": "m", "call": "submit"}
    faults = Faults([{"fault": "noexec_503", field: named[field]}], 0)

    assert _taken(faults) == "noexec_503"
    assert _taken(faults, **{field: {"provider": "openai", "model": "n", "call": "poll"}[field]}) is None


def test_a_rule_fires_as_often_as_it_says_and_then_the_next_one_does() -> None:
    faults = Faults([{"fault": "400", "times": 2}, {"fault": "noexec_500", "times": 1}], 0)

    assert [_taken(faults) for _ in range(4)] == ["400", "400", "noexec_500", None]
    assert [rule["fired"] for rule in faults.listing()] == [2, 1]


def test_chance_is_the_same_for_the_same_seed_and_about_as_likely_as_it_says() -> None:
    """A run that failed by chance can be had again."""
    rules = [{"fault": "400", "probability": 0.3}]

    first, again, other = (
        [_taken(faults) for _ in range(500)] for faults in (Faults(rules, 1), Faults(rules, 1), Faults(rules, 2))
    )

    assert first == again
    assert first != other
    assert 100 < first.count("400") < 200


def test_certainty_and_impossibility_are_exact() -> None:
    faults = Faults([{"fault": "400", "probability": 0.0}, {"fault": "noexec_500", "probability": 1.0}], 0)

    assert {_taken(faults) for _ in range(50)} == {"noexec_500"}


def test_a_fault_that_makes_no_sense_now_is_kept_for_later() -> None:
    faults = Faults([{"fault": "data_removed", "times": 1}], 0)

    early = faults.take("replicate", "m", "poll", without=frozenset({"data_removed"}))
    late = faults.take("replicate", "m", "poll")

    assert early is None
    assert late is not None


def test_seconds_and_value_reach_the_call_and_each_fault_knows_its_turn() -> None:
    faults = Faults([{"fault": "redirect_private", "value": "http://10.0.0.1/", "seconds": 3}], 0)

    first, second = (faults.take("fal", "", "download") for _ in range(2))

    assert first is not None
    assert second is not None
    assert (first.value, first.seconds, first.turn, second.turn) == ("http://10.0.0.1/", 3, 0, 1)
    unset = Faults([{"fault": "reply_late"}], 0).take("fal", "", "submit")
    assert unset is not None
    assert unset.seconds == FAULTS["reply_late"].seconds > 0


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"fault": "explode"}, "[1].fault: 'explode' is none of"),
        ({}, "[1].fault: Field required"),
        ("400", "[1]: Input should be"),
        ({"fault": 400}, "[1].fault: Input should be a valid string"),
        ({"fault": "400", "provider": "runway"}, "[1].provider: 'runway' is none of replicate"),
        ({"fault": "400", "call": "pay"}, "[1].call: 'pay' is none of submit"),
        ({"fault": "400", "call": "poll"}, "[1].call: 400 happens to submit, not to poll"),
        ({"fault": "aborted", "provider": "fal"}, "[1].provider: aborted is known of replicate, not of fal"),
        ({"fault": "400", "times": 0}, "[1].times: Input should be greater than or equal to 1"),
        ({"fault": "400", "times": True}, "[1].times: Input should be a valid integer"),
        ({"fault": "400", "probability": 1.5}, "[1].probability: Input should be less than or equal to 1"),
        ({"fault": "400", "seconds": -1}, "[1].seconds: Input should be greater"),
        ({"fault": "output_url"}, "[1].value: output_url needs"),
        ({"fault": "400", "tmies": 1}, "[1].tmies: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_entry_and_field(entry: Any, complaint: str) -> None:
    """A rule that never fires makes a test that proves nothing."""
    with pytest.raises(ConfigurationError) as caught:
        Faults([{"fault": "400"}, entry], 0)

    assert complaint in caught.value.message


def test_all_wrong_rules_are_told_at_once_and_the_old_ones_stay() -> None:
    faults = Faults([{"fault": "400"}], 0)

    with pytest.raises(ConfigurationError) as caught:
        faults.replace([{"fault": "a"}, {"fault": "b"}])

    assert "[0].fault" in caught.value.message
    assert "[1].fault" in caught.value.message
    assert _taken(faults) == "400"


def test_new_rules_begin_to_count_at_nothing() -> None:
    faults = Faults([{"fault": "400", "times": 1}], 0)
    faults.take("fal", "", "submit")

    faults.replace([{"fault": "400", "times": 1}])

    assert _taken(faults) == "400"


def test_every_fault_can_happen() -> None:
    """Each entry of the catalogue has a call, a provider and a meaning."""
    for name, kind in FAULTS.items():
        provider, call = sorted(kind.providers)[0], sorted(kind.calls)[0]
        rule = {"fault": name, "provider": provider, "call": call, "value": "x"}
        assert _taken(Faults([rule], 0), provider=provider, call=call) == name
        assert kind.meaning
