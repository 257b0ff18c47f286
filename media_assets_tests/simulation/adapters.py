"""The providers of the simulation, as the real transport sees them: four kinds, told apart by what can be asked later.

``shows``: its list has what waits and runs. ``ends``: its list has what has ended. ``hides``: it keeps no list.
``once``: it keeps none either, and its one reply holds the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from media_assets.catalog import Meter, ModelSpec, PriceRow, Recovery
from media_assets.errors import (
    Billed,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Step
from media_assets.providers.base import Adapter, Asked, Deadlines, HttpCall, HttpReply
from media_assets.providers.listing import Listed, ListedPage, Page
from media_assets.request import GenerationRequest

PRICE_USD = Decimal("0.50")
PRICE_MICRO_USD = 500_000
ITEM_HEADER = "x-item"
"""Tells the simulation what is bought, whatever the purchase calls it; the provider's lists never show it."""

QUEUE_S, RUN_S = 300.0, 60.0
"""The longest that a prediction waits and runs, where its provider keeps to what it is told."""


def _spec(provider: str, recovery: Recovery, cancel: Literal["none", "queued", "running"]) -> ModelSpec:
    day = date(2026, 1, 1)
    price = {"from": day, "usd": str(PRICE_USD), "per": Meter.REQUEST, "source": "the simulation", "own_word": True}
    return ModelSpec(
        id=f"{provider}:any",
        title="any",
        step=Step.IMAGE,
        endpoint="any",
        version="1",
        recovery=recovery,
        run_deadline_s=RUN_S,
        queue_deadline_s=QUEUE_S,
        cancel=cancel,
        roles={},
        source="the simulation",
        checked=day,
        price=(PriceRow.model_validate(price),),
    )


SPECS: Mapping[str, ModelSpec] = {
    "shows": _spec("shows", Recovery.LISTED, "queued"),
    "ends": _spec("ends", Recovery.LISTED, "queued"),
    "hides": _spec("hides", Recovery.BY_ID, "running"),
    "once": _spec("once", Recovery.NONE, "none"),
}


@dataclass(frozen=True)
class SimulatedAdapter(Adapter):
    """What the four kinds share: small JSON objects with an id and a state."""

    name: ClassVar[str]
    is_listed: ClassVar[bool] = False

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (f"https://{self.name}.invalid",)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> HttpCall:
        return HttpCall(method=method, url=f"{self.base_urls[0]}/{path}", json_body=body, headers=headers)

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        item = f"{request.provider}/{request.params['number']}/{request.take}"
        return self._call("POST", "jobs", request.params, **{ITEM_HEADER: item})

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        return self._call("GET", f"jobs/{prediction.id}")

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        return self._call("DELETE", f"jobs/{prediction.id}")

    def list_call(
        self, *, endpoints: Sequence[str], since: datetime, until: datetime, page: str | None
    ) -> HttpCall | None:
        return self._call("GET", "jobs") if self.is_listed else None

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        told = reply.json()
        known = prediction.id if prediction else None
        if not isinstance(told, dict) or "id" not in told:
            message = f"{self.name} answered with what nobody can read"
            rerun = Rerun.RESUME if known else Rerun.ASK
            raise UnexpectedResponseError(message, provider=self.name, prediction_id=known, rerun=rerun)
        state = State(told["state"])
        failure = None
        if state in {State.FAILED, State.CANCELED}:
            billed = Billed.YES if told["billed"] else Billed.NO
            failure = PredictionFailedError(f"it ended as {state}", provider=self.name, prediction_id=told["id"])
            failure.billed = billed
        return Prediction(id=told["id"], state=state, remote_state=str(state), outputs=_outputs(told), failure=failure)

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        known = prediction.id if prediction else None
        message = f"{self.name} answered with status {reply.status}"
        if reply.status == 429:
            error = RateLimitedError(message, provider=self.name, prediction_id=known)
            error.retry_after_s = reply.json()["retry_after_s"]
            return error
        if reply.status >= 500:
            return ProviderUnavailableError(
                message, provider=self.name, prediction_id=known, rerun=Rerun.RESUME, billed=Billed.UNKNOWN
            )
        return RequestRejectedError(message, provider=self.name, prediction_id=known)

    def parse_list(self, reply: HttpReply) -> ListedPage:
        told = reply.json()
        return Page(items=tuple(map(_listed, told["items"])), unreadable=tuple(told["unreadable"]))


def _outputs(told: Mapping[str, Any]) -> tuple[Output, ...]:
    if "data" in told:
        return (Output(data=told["data"].encode()),)
    return (Output(url=told["output"]),) if told.get("output") else ()


def _listed(entry: Mapping[str, Any]) -> Listed:
    prediction = Prediction(id=entry["id"], state=State.UNKNOWN)
    return Listed(prediction=prediction, created_at=None, endpoint="any", input=entry["input"], ended=entry["ended"])


class Shows(SimulatedAdapter):
    """A provider whose list has what waits and runs, as Replicate's."""

    name = "shows"
    is_listed = True
    lists_running = True
    list_lag_s = 60.0


class Ends(SimulatedAdapter):
    """A provider whose list has what has ended, as fal's."""

    name = "ends"
    is_listed = True
    list_lag_s = 60.0


class Hides(SimulatedAdapter):
    """A provider that can be asked by id alone."""

    name = "hides"


class Once(SimulatedAdapter):
    """A provider whose one reply is all there is, as OpenAI's."""

    name = "once"

    @property
    def answers_once(self) -> bool:
        return True

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        return None

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        return None


ADAPTERS: Mapping[str, Adapter] = {one.name: one() for one in (Shows, Ends, Hides, Once)}
