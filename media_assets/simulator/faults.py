"""What can be made to go wrong, and the rules that say when.

A rule is ``{provider, model, call, fault, times, probability, seconds, value}``; only ``fault`` is required. The first
rule that fits a call fires, at most ``times`` times (for ever when not given) and with ``probability`` (1).

``value`` is an address where a fault speaks of one; elsewhere the form of a refusal, of a provider that has several:
for fal ``model``, told in a list by the model itself and not by the platform around it.

"exec" in a name means that the submission was accepted: it is logged and billed as any other, only its reply suffers.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media_assets.errors import ConfigurationError
from media_assets.simulator.chance import draw
from media_assets.simulator.options import PROVIDERS

CallName = Literal["submit", "poll", "result", "cancel", "upload", "download", "list"]
"""What an HTTP request is for. ``result`` is fal's second GET; ``download`` fetches an output's bytes."""

CALLS: Final[tuple[str, ...]] = get_args(CallName)

_API = frozenset(CALLS) - {"download"}
_READS = frozenset({"poll", "result", "list", "download"})
_CHANGES = frozenset({"submit", "cancel", "upload"})
_SUBMIT = frozenset({"submit"})
_POLLS = frozenset({"poll", "result"})
_ALL = frozenset(PROVIDERS)
_QUEUES = frozenset({"replicate", "fal"})
_REPLICATE = frozenset({"replicate"})
_LISTED = frozenset({"replicate", "fal", "elevenlabs"})


@dataclass(frozen=True)
class FaultKind:
    """One entry of the catalogue."""

    meaning: str
    calls: frozenset[str] = _SUBMIT
    """The calls it can happen to."""
    providers: frozenset[str] = _ALL
    """Whose APIs know it."""
    seconds: float = 0.0
    """Default of a rule's ``seconds``."""


FAULTS: Final[Mapping[str, FaultKind]] = {
    # The connection. A real refusal happens before any request; here the request is read, so that rules can choose
    # by model, and then the connection ends without a byte of reply and without anything having been accepted.
    "refuse_connect": FaultKind("the connection ends at once; nothing is accepted", frozenset(CALLS)),
    "tls_fail": FaultKind("as refuse_connect: a handshake that failed looks no different", frozenset(CALLS)),
    "exec_and_drop": FaultKind("accepted; the connection is closed without a reply", frozenset(CALLS)),
    "reset_before_headers": FaultKind("accepted; the connection is reset (TCP RST)", frozenset(CALLS)),
    "exec_and_hang": FaultKind("accepted; never a reply, and the connection stays open", frozenset(CALLS)),
    "exec_and_truncate": FaultKind("accepted; the reply ends in the middle of its body", _CHANGES),
    "reply_late": FaultKind("accepted; the reply comes after `seconds`", frozenset(CALLS), seconds=120.0),
    "slow_1Bps": FaultKind("the reply's body comes one byte a second", frozenset(CALLS)),
    "truncate": FaultKind("the reply ends in the middle of its body", _READS),
    # What a gateway or the API itself answers.
    "exec_and_500": FaultKind("accepted; the reply is the provider's own 500", _CHANGES),
    "exec_and_503_nginx": FaultKind("accepted; the reply is a gateway's 503 page, which names nginx", _CHANGES),
    "noexec_500": FaultKind("not accepted: the provider's own 500", frozenset(CALLS)),
    "noexec_503": FaultKind("not accepted: the provider's own 503", frozenset(CALLS)),
    "poll_5xx": FaultKind("500, 502, 503 and 504 by turns", _POLLS),
    "429_header": FaultKind("429 with `Retry-After: seconds`", _API, seconds=1.0),
    "429_body": FaultKind("429 that says how long to wait in its body only", _API, seconds=1.0),
    "429_date": FaultKind("429 with `Retry-After` as a date of real time", _API, seconds=1.0),
    "400": FaultKind("not accepted: the provider's own 400"),
    "retired_404": FaultKind("not accepted: the model is gone"),
    "insufficient_credit": FaultKind("not accepted: the account is empty"),
    "content_rejected": FaultKind("moderation refuses before work: an error reply, or a prediction that fails at once"),
    "2xx_garbage": FaultKind("accepted; success with a body that is no JSON", _API),
    "html": FaultKind("200 with an HTML page", _READS),
    # What becomes of a prediction.
    "run_failed": FaultKind("accepted; fails at the end of its run"),
    "moderation_after_run": FaultKind("accepted; moderation refuses what was made, after the whole run"),
    "queue_stuck": FaultKind("accepted; never starts", providers=_QUEUES),
    "run_stuck": FaultKind("accepted; starts and never ends", providers=_QUEUES),
    "aborted": FaultKind("accepted; aborted before it starts, free of charge", providers=_REPLICATE),
    "black_output": FaultKind("the picture or clip is black"),
    "silent_output": FaultKind("the voice is silent"),
    "tiny_output": FaultKind("the picture or clip is far smaller than asked for"),
    "short_output": FaultKind("the clip or voice is far shorter than asked for"),
    "output_url": FaultKind("the output's URL is `value`, as it stands", providers=_QUEUES),
    # What the API tells of it.
    "sparse_201": FaultKind("the reply lacks `output`, `metrics` and `data_removed`", providers=_REPLICATE),
    "201_unfinished": FaultKind("the reply is 201 and `processing` with `output` filled in", providers=_REPLICATE),
    "404_after_create": FaultKind("404, though the prediction exists", _POLLS, _QUEUES),
    "unknown_status": FaultKind("a status nobody has heard of", frozenset({"poll"}), _QUEUES),
    "data_removed": FaultKind("the finished prediction's output is gone", frozenset({"poll"}), _REPLICATE),
    "cancel_race": FaultKind("the run ends well before the cancel reaches it", frozenset({"cancel"}), _QUEUES),
    "list_lag": FaultKind("what is younger than `seconds` is not listed", frozenset({"list"}), seconds=60.0),
    "list_hides_running": FaultKind("what has not ended is not listed", frozenset({"list"}), _LISTED),
    # What a download brings.
    "expired": FaultKind("the URL has expired", frozenset({"download"})),
    "wrong_mime": FaultKind("Content-Type text/plain", frozenset({"download"})),
    "redirect_private": FaultKind("a redirect to `value`, or to a cloud's metadata address", frozenset({"download"})),
}
"""Every fault by name. Those of requests and replies are handled in ``calls.py``, the others where their effect is."""


class Rule(BaseModel):
    """When a fault fires."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    provider: str | None = None
    model: str | None = None
    """The provider's own name for it: ``owner/name``, an endpoint or a model id."""
    call: str | None = None
    fault: str
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, ge=0, le=1)
    seconds: float | None = Field(default=None, ge=0)
    """How long, for the faults that take time: virtual seconds, but for the waits that a 429 asks for."""
    value: str | None = None

    def fits(self, provider: str, model: str, call: str) -> bool:
        """Whether the rule speaks of this call, counts and chance left aside."""
        kind = FAULTS[self.fault]
        return (
            self.provider in {None, provider}
            and self.model in {None, model}
            and self.call in {None, call}
            and call in kind.calls
            and provider in kind.providers
        )


@dataclass(frozen=True)
class Fault:
    """A fault that fired, for one call."""

    name: str
    seconds: float = 0.0
    value: str | None = None
    turn: int = 0
    """How often its rule had fired before."""


def read_rules(entries: Iterable[Any]) -> tuple[Rule, ...]:
    """Check rules as they are written in a file or a PUT.

    Raises:
        ConfigurationError: Names the entry (from 0) and the field of every fault in them.
    """
    rules, problems = [], []
    for number, entry in enumerate(entries):
        try:
            rule = Rule.model_validate(entry)
        except ValidationError as error:
            problems += [_problem(number, one["loc"], one["msg"]) for one in error.errors()]
            continue
        problems += [_problem(number, (field,), why) for field, why in _misfits(rule)]
        rules.append(rule)
    if problems:
        raise ConfigurationError("fault rules:\n" + "\n".join(f"  {problem}" for problem in problems))
    return tuple(rules)


def _problem(number: int, where: Sequence[str | int], why: str) -> str:
    return f"{'.'.join([f'[{number}]', *map(str, where)])}: {why}"


def _misfits(rule: Rule) -> Iterable[tuple[str, str]]:
    if rule.provider is not None and rule.provider not in PROVIDERS:
        yield "provider", f"{rule.provider!r} is none of {', '.join(PROVIDERS)}"
    if rule.call is not None and rule.call not in CALLS:
        yield "call", f"{rule.call!r} is none of {', '.join(CALLS)}"
    kind = FAULTS.get(rule.fault)
    if kind is None:
        yield "fault", f"{rule.fault!r} is none of {', '.join(FAULTS)}"
        return
    if rule.call in CALLS and rule.call not in kind.calls:
        yield "call", f"{rule.fault} happens to {', '.join(sorted(kind.calls))}, not to {rule.call}"
    if rule.provider in PROVIDERS and rule.provider not in kind.providers:
        yield "provider", f"{rule.fault} is known of {', '.join(sorted(kind.providers))}, not of {rule.provider}"
    if rule.fault == "output_url" and rule.value is None:
        yield "value", "output_url needs the URL to hand out"


class Faults:
    """The rules in force, and how often each has fired; safe to use from any thread."""

    def __init__(self, rules: Iterable[Any], seed: int) -> None:
        """Start with rules.

        Raises:
            ConfigurationError: As ``read_rules``.
        """
        self._seed = seed
        self._lock = threading.Lock()
        self._rules: tuple[Rule, ...] = ()
        self._asked: list[int] = []
        self._fired: list[int] = []
        self.replace(rules)

    def replace(self, rules: Iterable[Any]) -> None:
        """Put other rules in the place of all, with their counts at 0.

        Raises:
            ConfigurationError: As ``read_rules``; the old rules stay.
        """
        checked = read_rules(rules)
        with self._lock:
            self._rules = checked
            self._asked = [0] * len(checked)
            self._fired = [0] * len(checked)

    def listing(self) -> list[dict[str, Any]]:
        """Return the rules as they were given, each with ``fired``."""
        with self._lock:
            return [
                {**rule.model_dump(exclude_none=True), "fired": fired}
                for rule, fired in zip(self._rules, self._fired, strict=True)
            ]

    def take(self, provider: str, model: str, call: str, *, without: frozenset[str] = frozenset()) -> Fault | None:
        """Return the fault that befalls this call, counting it as fired.

        Args:
            provider: One of ``PROVIDERS``.
            model: The provider's own name for the model, or "" where the call names none.
            call: One of ``CALLS``.
            without: Faults that make no sense at this moment; their rules are passed over and not counted.
        """
        with self._lock:
            for number, rule in enumerate(self._rules):
                if rule.fault in without or not rule.fits(provider, model, call):
                    continue
                if rule.times is not None and self._fired[number] >= rule.times:
                    continue
                self._asked[number] += 1
                if draw(self._seed, "fault", number, self._asked[number]) >= rule.probability:
                    continue
                self._fired[number] += 1
                seconds = FAULTS[rule.fault].seconds if rule.seconds is None else rule.seconds
                return Fault(rule.fault, seconds, rule.value, self._fired[number] - 1)
        return None
