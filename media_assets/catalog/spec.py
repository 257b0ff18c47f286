"""ModelSpec: everything that is known of one model, and what in an entry contradicts itself."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from media_assets.catalog.entry import Entry
from media_assets.catalog.limits import ClipSize, FrameRule, InputRule, LengthRange, SizeRule
from media_assets.catalog.params import ParamSpec
from media_assets.catalog.prices import Meter, PriceRow, TokenRule
from media_assets.prompt import Scalar, Step

SHORTEST_COMPUTE_S = 5
"""The shortest deadline of a model that is paid by the second: Replicate takes none below (its OpenAPI of 2026-04-09),
and what is reserved goes by the deadline that is kept."""

RETIRING_DAYS = 30
"""So many days before a model is shut down, using it is warned about."""

Seconds = Annotated[float, Field(gt=0)]
Lifetime = Literal["alive", "retiring", "retired"]


class Recovery(StrEnum):
    """What can be done about a submission whose outcome was lost (`docs/architecture.md`)."""

    FREE = "free"
    """Costs nothing: it is simply done again."""
    IDEMPOTENT = "A"
    """The same submission can be sent again under an idempotency key."""
    LISTED = "B"
    """The provider lists predictions, so that a lost one can be found."""
    BY_ID = "C"
    """A prediction can be asked for by its id only; a lost id is lost."""
    NONE = "D"
    """The answer comes in the one reply or not at all."""


class ModelSpec(Entry):
    """One model: how it is asked, what it can make, how long it may take, what it costs."""

    id: Annotated[str, Field(pattern=r"^[a-z]+:[a-z0-9][a-z0-9.-]*$")]
    """``provider:name``, as users write it in routes."""
    title: str
    step: Step
    endpoint: str
    version: str
    """Part of the request key: raised when an equal request would make something else."""
    recovery: Recovery
    run_deadline_s: Seconds
    """Seconds of running after which the work is given up; sent to the provider where it can be told."""
    queue_deadline_s: Seconds = 900
    """Seconds a prediction may wait for its turn; sent to the provider where it can be told."""
    post_deadline_s: Seconds = 60
    """Seconds the reply to the submit may take; a provider that answers at once needs as long as the work. Once a 2xx
    has begun to come, it has ``download_deadline_s`` more, for it may hold the output."""
    download_deadline_s: Seconds = 300
    """Seconds one output may take to arrive."""
    poll_error_budget_s: Seconds = 120
    """Seconds for which asking how it stands may fail before we stop asking."""
    roles: Mapping[str, str]
    """Which of the model's parameters takes what of ours: prompt, script, image, seed, width, height, size, count,
    length, voice, speed, … A parameter ``a.b`` is the field ``b`` of the object ``a``. ``size`` is one text,
    ``WIDTHxHEIGHT`` or a name of ``sizes.named``; ``count`` is how many images are made."""
    params: Mapping[str, ParamSpec] = Field(default_factory=dict)
    sizes: SizeRule | None = None
    """The sizes of picture it makes. None: any that a prompt may ask for, or it makes no picture."""
    accepts: Mapping[str, InputRule] = Field(default_factory=dict)
    """What its input files must be, by role; a role that is not named takes any file."""
    clip_size: ClipSize | None = None
    """The frame size of its clips. None: not known, or the size is a parameter."""
    length_s: LengthRange | None = None
    frames: FrameRule | None = None
    """For a clip whose length is a number of frames; in place of ``length_s``."""
    length_follows_voice: bool = False
    """Whether a clip is made as long as the narration is expected to be."""
    characters_max: Annotated[int, Field(gt=0)] | None = None
    """The longest prompt or script it takes, in characters. None: not known."""
    characters_per_s: Annotated[float, Field(gt=0)] | None = None
    """Characters of the script spoken in a second at speed 1, a digit counted as 4 and an ideogram as 3 (``letters``).
    None: as the built-in voice speaks."""
    writing_systems: tuple[str, ...] = ()
    """ISO 15924 codes of what it can speak; empty: anything."""
    stand_in: bool = False
    """Whether a result is degraded when this model took the place of another."""
    silent: bool = False
    """Whether it stands in for speech without speaking."""
    cancel: Literal["none", "queued", "running"] = "none"
    """Until when a cancel ends the work: never, only before it began (then it is free), or while it runs too."""
    billed_failed: bool = True
    """Whether a run that failed is counted as paid for, where the provider's answer does not say."""
    billed_canceled: bool = True
    """Whether work that was canceled *while it ran* is counted as paid for; canceled before, it never is."""
    billing: str = ""
    """One sentence on what is billed when, with its source."""
    retires: date | None = None
    """The day the provider shuts it down."""
    successors: tuple[str, ...] = ()
    """Models to use in its place, by id."""
    source: str
    """Where the parameters were read."""
    checked: date
    """The day of that."""
    price: tuple[PriceRow, ...] = ()
    """Empty: unpriced, so it is refused unless the user says what to assume."""
    tokens: Mapping[str, TokenRule] = Field(default_factory=dict)
    """The most tokens a request may need, by kind; every kind that is priced has one."""

    @property
    def provider(self) -> str:
        """The part of the id before the colon."""
        return self.id.partition(":")[0]

    @property
    def reads_stand_in_fields(self) -> bool:
        """Whether a caption or the script's length changes what this model makes of a picture."""
        return "caption" in self.roles or self.length_follows_voice

    @property
    def paid_by_time(self) -> bool:
        """Whether it is priced by the second of compute, so that only its run deadline bounds what it costs."""
        return any(part.per is Meter.COMPUTE_S for row in self.price for part in row.parts)

    @property
    def voices(self) -> tuple[Scalar, ...]:
        """The speakers there are; empty where any name is taken, or none."""
        param = self.params.get(self.roles.get("voice", ""))
        return param.enum if param else ()

    def value(self, params: Mapping[str, Scalar], name: str) -> Scalar | None:
        """Return what a request's parameters say for ``name``, else its default; None where there is neither."""
        param = self.params.get(name)
        return params.get(name, param.default if param else None)

    def speed_of(self, params: Mapping[str, Scalar]) -> float:
        """Return how many times as fast as usual a request's voice speaks; 1 where it cannot be asked to."""
        value = self.value(params, self.roles.get("speed", ""))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 1.0
        return float(value) if value > 0 else 1.0

    def lifetime(self, today: date) -> Lifetime:
        """Return whether it can be used: ``retiring`` within 30 days of its end, ``retired`` from that day on."""
        if self.retires is None or today < self.retires - timedelta(days=RETIRING_DAYS):
            return "alive"
        return "retiring" if today < self.retires else "retired"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "ModelSpec":
        faults = [*self._unknown_params(), *self._bad_values(), *self._bad_tokens()]
        faults += [*self._bad_deadline(), *self._bad_length()]
        if faults:
            message = "; ".join(faults)
            raise ValueError(message)
        return self

    def _unknown_params(self) -> Iterator[str]:
        """Yield the parameters that a rule names and the model does not have."""
        named: list[tuple[str, str | None]] = []
        if self.frames is not None:
            named += [("frames.fps", self.frames.fps), ("frames.count", self.frames.count)]
        if self.clip_size is not None:
            named += [("clip_size.by", self.clip_size.by), ("clip_size.aspect_by", self.clip_size.aspect_by)]
        named += [(f"tokens.{kind}.by", rule.by) for kind, rule in self.tokens.items()]
        surcharges = [surcharge for row in self.price for surcharge in row.surcharge]
        named += [("price.surcharge.when_over", name) for surcharge in surcharges for name in surcharge.when_over]
        for field, name in named:
            if name is not None and name not in self.params:
                yield f"{field}: there is no parameter {name!r}"
        for role in self.accepts:
            if role not in self.roles:
                yield f"accepts.{role}: there is no such role"

    def _bad_values(self) -> Iterator[str]:
        """Yield what rules say of values that the parameter cannot have, and values that a price forgot."""
        for row in self.price:
            for part in row.parts:
                for name, value in part.when.items():
                    yield from self._bad_value("price.part.when", name, value)
            if row.parts and all(part.when for part in row.parts):
                yield from self._unpriced_values(row)
        for field, name, values in self._tables():
            enum = [str(value) for value in self.params[name].enum] if name in self.params else values
            if set(values) != set(enum):
                yield f"{field}: must name each of {', '.join(enum)}"

    def _tables(self) -> Iterator[tuple[str, str, Collection[str]]]:
        """Yield each table by the values of a parameter: its field, the parameter, its keys."""
        if self.clip_size is not None and self.clip_size.by is not None:
            yield "clip_size.cases", self.clip_size.by, self.clip_size.cases
        if self.frames is not None and self.frames.count is not None and self.frames.counts:
            yield "frames.counts", self.frames.count, self.frames.counts
        if self.sizes is not None and self.sizes.named and self.roles.get("size") in self.params:
            yield "sizes.named", self.roles["size"], self.sizes.named
        for kind, rule in self.tokens.items():
            if rule.by is not None:
                yield f"tokens.{kind}.per_megapixel", rule.by, rule.per_megapixel

    def _bad_value(self, field: str, name: str, value: Scalar) -> Iterator[str]:
        if name not in self.params:
            yield f"{field}: there is no parameter {name!r}"
            return
        try:
            self.params[name].accept(value)
        except ValueError as error:
            yield f"{field}: {name} {error}"

    def _unpriced_values(self, row: PriceRow) -> Iterator[str]:
        """Yield values that would make a purchase free by an oversight, for a price by one parameter."""
        names = {name for part in row.parts for name in part.when}
        if len(names) == 1:
            (name,) = names
            enum = self.params[name].enum if name in self.params else ()
            if missing := [str(value) for value in enum if value not in {part.when[name] for part in row.parts}]:
                yield f"price.part.when: no price for {name} {', '.join(missing)}"

    def _bad_tokens(self) -> Iterator[str]:
        kinds = {part.of for row in self.price for part in row.parts if part.per is Meter.TOKEN}
        for kind in sorted(str(kind) for kind in kinds if kind not in self.tokens):
            yield f"tokens: {kind} are priced, but nothing says how many there may be"
        if self.characters_per_s is None and any(rule.per_speech_s for rule in self.tokens.values()):
            yield "characters_per_s: is needed for tokens.per_speech_s"

    def _bad_deadline(self) -> Iterator[str]:
        if self.paid_by_time and self.run_deadline_s < SHORTEST_COMPUTE_S:
            yield f"run_deadline_s: must be at least {SHORTEST_COMPUTE_S} for a price by the second of compute"

    def _bad_length(self) -> Iterator[str]:
        if self.length_s is not None and self.frames is not None:
            yield "frames: excludes length_s"
        if self.sizes is not None and self.sizes.named and "size" not in self.roles:
            yield "sizes.named: needs the role size"
