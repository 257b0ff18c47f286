"""The wire of the simulation: what stands in for one HTTP exchange, one download and the look at a file.

What is checked here is the protocol's order: what has to be durable before each effect is durable by then.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import Billed, JudgeError, MediaAssetsError, OutputLostError, ProviderUnavailableError, Rerun
from media_assets.providers.base import HttpCall, HttpReply
from media_assets.providers.transport.download import Downloaded
from media_assets.providers.transport.wire import ExchangeLimits, NotSentError, ReplyLostError
from media_assets_tests.simulation.adapters import ITEM_HEADER
from media_assets_tests.simulation.loop import ProcessLoop
from media_assets_tests.simulation.provider import LONGEST_ARRIVAL_S, LOST, body_of

if TYPE_CHECKING:
    from media_assets_tests.simulation.process import Process

_RETRY_AFTER_S = 30.0


def _process() -> "Process":
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop)
    return loop.host  # type: ignore[return-value]


def _reply(status: int, told: Any) -> HttpReply:
    return HttpReply(status=status, headers={}, body=body_of(told))


async def exchange(
    call: HttpCall,
    *,
    headers: Mapping[str, str],
    limits: ExchangeLimits,
    before_sending: Callable[[], None] | None = None,
    is_submit: bool = False,
) -> HttpReply:
    """Do as :func:`media_assets.providers.transport.wire.exchange`, at the fake provider."""
    if is_submit:
        return await _submitted(call, limits, before_sending)
    process = _process()
    provider = process.world.provider
    provider.questions += 1
    await asyncio.sleep(provider.rng.uniform(0.01, 0.5))
    if provider.chance(provider.weather.ask):
        fault = provider.rng.choice(("unreachable", "lost", "503", "429"))
        process.world.fault(f"ask {fault}")
        if fault == "unreachable":
            message = "nobody listens"
            raise NotSentError(message)
        if fault == "lost":
            await asyncio.sleep(limits.deadline_s)
            message = "the deadline has passed"
            raise ReplyLostError(message)
        return _reply(int(fault), {"retry_after_s": _RETRY_AFTER_S})
    return _answer(call, process)


def _answer(call: HttpCall, process: "Process") -> HttpReply:
    world, provider = process.world, process.world.provider
    name, _, path = call.url.removeprefix("https://").partition(".invalid/")
    job_id = path.removeprefix("jobs").removeprefix("/")
    if not job_id:
        is_cut = provider.chance(provider.weather.listing)
        return _reply(200, {"items": list(provider.listed(name)), "unreadable": ["an entry"] if is_cut else []})
    job = provider.jobs.get(job_id)
    if job is None or not provider.knows(job):
        return _reply(404, {})
    if call.method == "DELETE":
        provider.cancel(job)
    else:
        world.order.asked(process, job)
    return _reply(200, job.as_json(world.now, inline=False))


async def _submitted(call: HttpCall, limits: ExchangeLimits, before_sending: Callable[[], None] | None) -> HttpReply:
    process = _process()
    world, provider = process.world, process.world.provider
    fault = provider.submit_fault()
    may_have_left = False
    point("post.before_connect")
    try:
        async with asyncio.timeout(limits.deadline_s):
            await asyncio.sleep(provider.rng.uniform(0, 1))
            if fault == "unreachable":
                world.fault(fault)
                message = "nobody listens"
                raise NotSentError(message)
            if before_sending is not None:
                before_sending()
            key = world.key_of(call.headers[ITEM_HEADER])
            world.order.sent(process, key)
            may_have_left = True
            point("post.after_headers_sent")
            await asyncio.sleep(0)
            _hold_back(before_sending)
            reply = _sent(call, key, fault, process)
            point("post.after_body_sent")
            came = await reply
            point("post.first_byte")
            return came
    except TimeoutError:
        message = "the deadline has passed"
        raise (ReplyLostError(message) if may_have_left else NotSentError(message)) from None


def _hold_back(before_sending: Callable[[], None] | None) -> None:
    """Keep the body back where it is too late for it by now: without it a request is none."""
    try:
        if before_sending is not None:
            before_sending()
    except MediaAssetsError as error:
        raise ReplyLostError(error.message) from None


def _sent(call: HttpCall, key: str, fault: str, process: "Process") -> "asyncio.Future[HttpReply]":
    """Put a submission on its way; nothing that happens to its process stops it now."""
    world, provider = process.world, process.world.provider
    name = call.url.removeprefix("https://").partition(".")[0]
    params = dict(call.json_body or {})
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[HttpReply] = loop.create_future()
    provider.posts += 1
    provider.under_way.append(key)
    world.note(f"{process} posts {world.name_of(key)}{f' ({fault})' if fault else ''}")
    if fault:
        world.fault(fault)
    world.lost_replies += fault in LOST

    def answer(status: int, told: Any, *, body: bytes | None = None) -> None:
        if fault == "no reply" or reply.done():
            return
        if fault in {"reply lost", "never arrives"}:
            reply.set_exception(ReplyLostError("the connection was cut"))
        else:
            reply.set_result(_reply(status, told) if body is None else HttpReply(status=status, headers={}, body=body))

    def later(seconds: float, status: int, told: Callable[[], Any], body: bytes | None = None) -> None:
        world.at(world.now + seconds, lambda: None if process.is_dead else answer(status, told(), body=body))

    def arrive() -> None:
        provider.under_way.remove(key)
        if fault in {"never arrives", "429", "422", "500 unaccepted"}:
            status = int(fault[:3]) if fault != "never arrives" else 0
            later(0.1, status, lambda: {"retry_after_s": _RETRY_AFTER_S})
            return
        world.order.accepted(key)
        job = provider.accept(name, key, params)
        world.note(f"{name} accepts {world.name_of(key)} as {job.id}")
        inline = name == "once"
        wait_s = job.ends_s - world.now if inline else provider.rng.uniform(0, 2)
        status = 500 if fault == "500 accepted" else 200
        later(wait_s, status, lambda: job.as_json(world.now, inline=inline), b"<html>" if fault == "garbage" else None)

    is_late = provider.chance(0.1)
    world.at(world.now + provider.rng.uniform(0, LONGEST_ARRIVAL_S if is_late else 0.5), arrive)
    return reply


async def download(url: str, target: Path, **_: Any) -> Downloaded:
    """Do as :func:`media_assets.providers.transport.download.download`, at the fake provider."""
    process = _process()
    world, provider = process.world, process.world.provider
    job = provider.jobs[url.rpartition("/")[2]]
    provider.downloads += 1
    world.order.fetched(process, job)
    await asyncio.sleep(provider.rng.uniform(0.01, 2))
    if provider.chance(provider.weather.download):
        world.fault("download")
        message = "the file cannot be had just now"
        raise ProviderUnavailableError(message, billed=Billed.YES, rerun=Rerun.RESUME)
    if world.now >= job.ends_s + job.expires_s:
        world.fault("expired")
        message = "the file is gone"
        raise OutputLostError(message)
    point("dl.first_byte")
    target.write_bytes(job.content)  # noqa: ASYNC240 - a few bytes, in memory
    digest = hashlib.sha256(job.content).hexdigest()
    return Downloaded(path=target, sha256=digest, size_bytes=len(job.content), content_type="image/png")


def look(path: Path, question: Any, *, what: str, from_outside: bool) -> tuple[MediaInfo, JudgeError | None]:
    """Return what a simulated output is, and whether it is good enough: it says so itself."""
    content = path.read_bytes()
    info = MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=len(content))
    return info, JudgeError(f"{what} is bad") if content.startswith(b"bad") else None


def point(name: str) -> None:
    """Pass a crash point; the desk puts its own in the place of ``crash_points.crash_point``."""
    _process().world.boundary(name)
