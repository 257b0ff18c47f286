"""What is compared with a provider's bill: its own paid purchases, with every prediction that each of them ever had."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import ProviderUnavailableError, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim
from media_assets.prediction import Prediction, State
from media_assets.request import GenerationRequest
from media_assets_tests.ledger.far_host import REQUEST

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Books:
    """A ledger with purchases at two providers, one of them free, one sent twice, one never sent."""

    ledger: Ledger
    keys: dict[str, str]

    def sent_at(self, name: str) -> list[datetime]:
        """Return when a purchase was submitted."""
        attempts = self.ledger.purchases.attempts(self.keys[name])
        return [datetime.fromisoformat(one["intent_at"]) for one in attempts]


def _claim(ledger: Ledger, request: GenerationRequest, recovery: Recovery = Recovery.LISTED) -> Claim:
    claim = ledger.purchases.claim(
        request, recovery=recovery, prompt_key="a", plan_id="p", estimate_micro_usd=1, retry_failed=True
    )
    assert isinstance(claim, Claim)
    return claim


def _submit(ledger: Ledger, claim: Claim, prediction_id: str) -> None:
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_submitted(claim, token, Prediction(id=prediction_id, state=State.RUNNING))


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    elsewhere = replace(REQUEST, provider="elsewhere", model="elsewhere:any", endpoint="its-own")
    requests = {
        "once": replace(REQUEST, take=1),
        "twice": replace(REQUEST, take=2),
        "free": replace(REQUEST, take=3),
        "never": replace(REQUEST, take=4),
        "elsewhere": elsewhere,
    }
    with open_ledger(tmp_path) as ledger:
        _submit(ledger, _claim(ledger, requests["once"]), "p-1")
        twice = _claim(ledger, requests["twice"])
        token = ledger.purchases.write_intent(twice)
        ledger.purchases.write_unknown(twice, UnknownOutcomeError("no reply", prediction_id="p-2"), token=token)
        ledger.purchases.hand_over(twice)
        ledger.purchases.leave(twice)
        row = ledger.purchases.get(twice.request_key)
        assert row is not None
        ledger.purchases.write_failed(twice, None, ProviderUnavailableError("gone"), outcome="failed")
        _submit(ledger, _claim(ledger, requests["twice"]), "p-3")
        _submit(ledger, _claim(ledger, requests["free"], Recovery.FREE), "p-4")
        _claim(ledger, requests["never"])
        _submit(ledger, _claim(ledger, requests["elsewhere"]), "p-1")
        yield Books(ledger, {name: request.key for name, request in requests.items()})


def test_a_prediction_is_its_own_providers(books: Books) -> None:
    """Two providers may give the same name; and one that was left for another is still on the bill."""
    asked = ["p-1", "p-2", "p-3", "p-5"]

    assert books.ledger.bills.claimants("testing", asked) == {
        "p-1": books.keys["once"],
        "p-2": books.keys["twice"],
        "p-3": books.keys["twice"],
    }
    assert books.ledger.bills.claimants("elsewhere", asked) == {"p-1": books.keys["elsewhere"]}
    assert books.ledger.bills.claimants("testing", ["p-2"]) == {"p-2": books.keys["twice"]}
    assert books.ledger.bills.claimants("nowhere", asked) == {}


def test_a_long_bill_is_looked_up_in_parts(books: Books) -> None:
    """A database takes only so many values at once; none at the edge of two parts is forgotten or asked twice."""
    many = [f"o-{number:04}" for number in range(499)] + ["p-1", "p-2", "p-3"] + [f"q-{n:04}" for n in range(600)]

    assert sorted(books.ledger.bills.claimants("testing", many)) == ["p-1", "p-2", "p-3"]


def test_what_was_submitted_in_a_time_is_what_was_paid_for_there(books: Books) -> None:
    """What was free is on no bill, what was never sent neither, and what was sent twice is listed once."""
    (first,), (last,) = books.sent_at("once"), books.sent_at("elsewhere")
    paid = sorted([books.keys["once"], books.keys["twice"]])
    bills = books.ledger.bills

    assert bills.submitted_between("testing", first, last) == paid
    assert bills.submitted_between("testing", first, first) == [books.keys["once"]]
    assert bills.submitted_between("elsewhere", first, last) == [books.keys["elsewhere"]]
    assert bills.submitted_between("elsewhere", first, last - _MOMENT) == []
    assert bills.submitted_between("testing", first + _MOMENT, last) == [books.keys["twice"]]


def test_a_purchase_counts_from_its_first_submission(books: Books) -> None:
    found = books.ledger.bills.bought([*books.keys.values(), "0" * 64])

    assert found.keys() == {key for name, key in books.keys.items() if name != "never"}
    assert found[books.keys["twice"]].first_intent_at == min(books.sent_at("twice")) != max(books.sent_at("twice"))
    assert found[books.keys["twice"]].row.prediction_id == "p-3"
    assert found[books.keys["once"]].row.prediction_id == "p-1"
    assert books.ledger.bills.bought([books.keys["once"]]).keys() == {books.keys["once"]}


def test_what_was_asked_of_a_provider_is_told_in_its_own_names(books: Books) -> None:
    assert books.ledger.bills.endpoints("testing") == {"any"}
    assert books.ledger.bills.endpoints("elsewhere") == {"its-own"}
    assert books.ledger.bills.endpoints("nowhere") == set()
