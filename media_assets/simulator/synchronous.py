"""Work that is done while the client waits: accepted and logged, run for its virtual time, settled, answered.

OpenAI and ElevenLabs work like this. They have no prediction to ask for: who loses the reply has lost its id too.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from media_assets.simulator.calls import Call, in_thread

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a client asked for, checked and ready to be done."""

    provider: str
    endpoint: str
    """Path of the API, without the simulator's prefix."""
    id: str
    """What the provider calls the request in its reply."""
    given: Mapping[str, Any]
    """The input as it was sent."""
    kind: str
    """``picture`` or ``voice``."""


def strict_json(body: bytes) -> Any:
    """Read JSON as servers do that do not run on Python: no ``NaN``, and no half of a surrogate pair.

    Raises:
        ValueError: It is none.
    """
    read = json.loads(body, parse_constant=_no_number)
    json.dumps(read, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded
    return read


def _no_number(name: str) -> float:
    message = f"{name} is no JSON"
    raise ValueError(message)


async def carry_out(
    call: Call, wanted: Wanted, make: Callable[[int], Made], outcome: Mapping[str, Any]
) -> tuple[int, Made] | None:
    """Accept what is wanted, make it, and log how it ended before anything is answered.

    A client that leaves meanwhile changes nothing: the work goes on and is billed. Whether that is so at the real
    providers is not documented (looked for 2026-11-22); it is the dearer of the two possibilities.

    **Costs money:** the bill counts it, unless the run fails.

    Args:
        call: The request; ``run_failed`` and ``moderation_after_run`` are dealt with here.
        wanted: What to log.
        make: Makes the result from the submission's number, in a worker.
        outcome: What the bill needs of a success.

    Returns:
        The submission's number and the result, or None when a fault let the run fail.
    """
    number = call.world.accept(wanted.provider, call.model, wanted.endpoint, wanted.id, wanted.given)
    run_s = call.world.run_s(wanted.provider, wanted.kind, number)
    made, _ = await asyncio.gather(in_thread(lambda: make(number), call.world), call.world.clock.sleep(run_s))
    has_failed = call.met("run_failed", "moderation_after_run")
    state = "failed" if has_failed else "succeeded"
    call.world.submissions.settle(number, state, compute_s=round(run_s, 6), **({} if has_failed else outcome))
    return None if has_failed else (number, made)
