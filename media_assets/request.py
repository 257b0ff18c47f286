"""GenerationRequest: what we ask a model for, complete; its request key names the purchase.

Excluded from the key on purpose: run, partition, time, account, URLs and timeouts. An input counts by the request
key that made it, never by its bytes, which change with the version of Pillow or ffmpeg.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from media_assets.canonical import canonical_json, digest_of
from media_assets.prompt import SEED_MAX, Scalar, Step

SCHEMA_VERSION = 1
"""Of the canonical form below. Raising it makes every request a new purchase: do not, without a migration."""


@dataclass(frozen=True, kw_only=True)
class InputRef:
    """One file a request builds on."""

    role: str
    """What the model uses it as: image, video, audio."""
    request_key: str | None = None
    """The request that made it, for a file of ours."""
    sha256: str | None = None
    """The digest of a user's own file."""
    recipe: str | None = None
    """The versioned way it was conformed for this model; None: used as it is."""

    def as_dict(self) -> dict[str, str]:
        """Return the canonical form."""
        fields = {"request_key": self.request_key, "sha256": self.sha256, "recipe": self.recipe}
        return {"role": self.role} | {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Everything that decides what is bought."""

    step: Step
    provider: str
    model: str
    endpoint: str
    version: str
    """The resolved version of the model, never an alias that can move."""
    params: Mapping[str, Scalar]
    """Every parameter that is sent, defaults included, in the model's own names."""
    take: int = 0
    inputs: tuple[InputRef, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        object.__setattr__(self, "inputs", tuple(sorted(self.inputs, key=lambda ref: ref.role)))

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON whose SHA-256 is the key; stored with the purchase."""
        return canonical_json(self._as_dict())

    @cached_property
    def key(self) -> str:
        """SHA-256 in hex: equal key, same purchase."""
        return digest_of(self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "step": str(self.step),
            "provider": self.provider,
            "model": self.model,
            "endpoint": self.endpoint,
            "version": self.version,
            "params": dict(self.params),
            "take": self.take,
            "inputs": [ref.as_dict() for ref in self.inputs],
        }

    @classmethod
    def from_canonical(cls, data: Mapping[str, Any]) -> Self:
        """Build the request again from its parsed canonical JSON."""
        fields = {name: value for name, value in data.items() if name not in {"schema", "step", "inputs"}}
        return cls(step=Step(data["step"]), inputs=tuple(InputRef(**ref) for ref in data["inputs"]), **fields)

    def input_keys(self) -> dict[str, str]:
        """Return the request key of each input that a request made, by role."""
        return {ref.role: ref.request_key for ref in self.inputs if ref.request_key}


def derived_seed(text: str, step: Step, take: int) -> int:
    """Return the seed for a prompt that gives none: fixed by the text, the step and the take.

    A fixed seed makes a lost submission recognisable in a provider's list, and makes a free result repeatable.
    """
    return int(digest_of([text, str(step), take])[:8], 16) % (SEED_MAX // 2)
