"""Prompt: what the user asks for. Reading prompt files is in ``prompt_file.py``.

A prompt is frozen and complete in itself; nothing here knows a model or a price.
"""

import math
import re
import unicodedata
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from media_assets.canonical import digest_of

PROMPT_MAX_CHARACTERS = 4000
SCRIPT_MAX_CHARACTERS = 20_000
CAPTION_MAX_CHARACTERS = 300
KEY_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,79}$"
SIDE_MIN_PX, SIDE_MAX_PX = 64, 4096
CLIP_MAX_S = 300.0
SEED_MAX = 2**32 - 1

_SLUG_MAX_CHARACTERS = 40
_PARAM_MAX = 2**53  # beyond it a float, and so JSON, is not exact
_ALLOWED_CONTROLS = {"\n", "\t"}


class Step(StrEnum):
    """What a prompt's four assets are made by, in the order of the chain."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    MERGED = "merged"


class Fit(StrEnum):
    """How clip and voice of different lengths become one film."""

    HOLD = "hold"
    """As long as the longer: a short clip holds its last frame, a short voice is padded."""
    LOOP = "loop"
    """As long as the longer: a short clip is repeated."""
    TRIM = "trim"
    """As long as the voice: a longer clip is cut; speech never is."""
    STRETCH = "stretch"
    """As long as the clip: the voice's tempo is changed within 0.8 to 1.25."""


def _clean_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    _refuse_odd_characters(text)
    if not text:
        message = "is only blank space" if value else "is empty"
        raise ValueError(message)
    return text


def _refuse_odd_characters(text: str) -> None:
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            message = f"holds a lone surrogate (U+{ord(character):04X}), which is not text"
            raise ValueError(message)
        if category == "Cc" and character not in _ALLOWED_CONTROLS:
            name = "NUL" if character == "\0" else f"the control character U+{ord(character):04X}"
            message = f"holds {name}, which no model can read"
            raise ValueError(message)


def _no_bool(value: Any) -> Any:
    # YAML reads `yes` as true, and pydantic would read true as 1.
    if isinstance(value, bool):
        message = "is true or false, but a number is wanted"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports ValueError, TypeError escapes it
    return value


def _param(value: Any) -> Any:
    if isinstance(value, str):
        _refuse_odd_characters(value)
    elif not isinstance(value, bool | int | float):
        message = "is neither a text nor a number nor true or false"
        raise ValueError(message)  # noqa: TRY004 - as above
    elif not math.isfinite(value) or abs(value) > _PARAM_MAX:
        message = "is not a number that a model could take"
        raise ValueError(message)
    return value


def _size(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*[xX×*]\s*(\d+)\s*", value)
        if not match:
            message = "is not WIDTHxHEIGHT, for example 1024x576"
            raise ValueError(message)
        return int(match[1]), int(match[2])
    return value


def _money(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else _no_bool(value)


PromptKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN)]
Text = Annotated[str, BeforeValidator(_clean_text)]
Side = Annotated[int, BeforeValidator(_no_bool), Field(ge=SIDE_MIN_PX, le=SIDE_MAX_PX)]
Take = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=1_000_000)]
Takes = Annotated[
    Annotated[Take, Tag("number")] | Annotated[dict[Step, Take], Tag("steps")],
    Discriminator(lambda value: "steps" if isinstance(value, dict) else "number"),
]
Scalar = str | bool | int | float
Param = Annotated[Scalar, PlainValidator(_param)]


class Prompt(BaseModel):
    """What the user asks for: one file, or one row of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: PromptKey
    """Names the prompt everywhere, as the Dagster partition too; derived from the row when absent."""
    prompt: Annotated[Text, Field(max_length=PROMPT_MAX_CHARACTERS)]
    """What the picture shows."""
    script: Annotated[Text, Field(max_length=SCRIPT_MAX_CHARACTERS)] | None = None
    """What the voice says. None makes a silent film, which is not degraded."""
    motion: Annotated[Text, Field(max_length=PROMPT_MAX_CHARACTERS)] | None = None
    """How the picture moves. None: as ``prompt`` suggests."""
    caption: Annotated[Text, Field(max_length=CAPTION_MAX_CHARACTERS)] | None = None
    """Drawn by local:ken-burns only, so that a stand-in never adds words to a paid film."""
    seed: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=SEED_MAX)] | None = None
    size_px: Annotated[tuple[Side, Side], BeforeValidator(_size)] = (1024, 576)
    """Width and height."""
    clip_s: Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=CLIP_MAX_S)] | None = None
    """Wanted length of the moving picture. None: the model's default."""
    voice: Annotated[Text, Field(max_length=200)] | None = None
    """The speaker, in the voice model's own words. None: the model's default."""
    fit: Fit = Fit.HOLD
    take: Takes = 0
    """Raise it (for one step, or all) to buy a new variation of an equal request."""
    params: dict[Step, dict[Text, Param]] = Field(default_factory=dict)
    """Model parameters, for example ``{"video": {"motion_bucket_id": 90}}``."""
    routes: dict[Step, Annotated[list[Text], Field(min_length=1)]] = Field(default_factory=dict)
    """Ordered models for a step, in place of the configured route."""
    max_cost_usd: Annotated[Decimal, BeforeValidator(_money), Field(ge=0, le=1_000_000)] | None = None
    """Cap on what this prompt may cost."""

    @field_validator("key", mode="before")
    @classmethod
    def _key_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="before")
    @classmethod
    def _derive_key(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("key") is None and isinstance(data.get("prompt"), str):
            rest = {name: value for name, value in data.items() if name != "key"}
            return {**rest, "key": derive_key(data["prompt"], rest)}
        return data

    def take_of(self, step: Step) -> int:
        """Return the take of one step."""
        return self.take if isinstance(self.take, int) else self.take.get(step, 0)

    def with_take(self, takes: dict[Step, int]) -> Self:
        """Return the prompt with the given steps' takes replaced."""
        every = {step: self.take_of(step) for step in Step}
        return self.model_copy(update={"take": {**every, **takes}})

    @property
    def digest(self) -> str:
        """SHA-256 of all that was asked for, without the key and the cap: equal digest, same wish."""
        return digest_of(self.model_dump(mode="json", exclude={"key", "max_cost_usd"}, exclude_defaults=True))

    def step_digest(self, step: Step, *, stand_in_fields: bool) -> str:
        """Return the digest of those fields that bear on ``step`` and on what it is made from.

        A finished step is reused while this is unchanged, whatever happened to code, catalog or configured routes.

        Args:
            step: Which step.
            stand_in_fields: Whether the fields count that only a model which reads them depends on: the caption,
                and the script for a clip whose length follows the voice.
        """
        return digest_of(self._step_fields(step, stand_in_fields=stand_in_fields))

    def _step_fields(self, step: Step, *, stand_in_fields: bool) -> dict[str, Any]:
        common = {
            "take": self.take_of(step),
            "params": self.params.get(step, {}),
            "route": self.routes.get(step),
        }
        if step is not Step.MERGED:
            common["seed"] = self.seed
        if step is Step.IMAGE:
            return common | {"prompt": self.prompt, "size_px": self.size_px}
        if step is Step.AUDIO:
            # A silent track is as long as the clip.
            length = {"clip_s": self.clip_s} if self.script is None and self.clip_s is not None else {}
            return common | length | {"script": self.script, "voice": self.voice}
        video_also = {"caption": self.caption, "script": self.script} if stand_in_fields else {}
        if step is Step.VIDEO:
            image = self._step_fields(Step.IMAGE, stand_in_fields=False)
            return common | video_also | {"image": image, "motion": self.motion, "clip_s": self.clip_s}
        parts = (Step.VIDEO, Step.AUDIO)
        made_of = {part: self._step_fields(part, stand_in_fields=True) for part in parts}
        return common | made_of | {"fit": self.fit}


def derive_key(prompt: str, row: dict[str, Any]) -> str:
    """Return ``slug-<8 hex of the whole row>``, or ``film-<8 hex>`` for a text without Latin letters."""
    try:
        suffix = digest_of(_jsonable(row))[:8]
    except ValueError:
        suffix = "0" * 8  # a lone surrogate: the field's own validator says so
    folded = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", folded)
    slug = ""
    for word in words:
        if len(slug) + len(word) >= _SLUG_MAX_CHARACTERS:
            break
        slug = f"{slug}-{word}" if slug else word
    return f"{slug if re.search('[a-z]', slug) else 'film'}-{suffix}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
