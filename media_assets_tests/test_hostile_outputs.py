"""No address that a provider returns hurts: every form through the whole product, in replies, redirects and DNS."""

import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    OutputLostError,
    ProbeError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Step
from media_assets.testing import no_network
from media_assets_tests.hostile_scene import Attempt, Scene, micro_usd, open_scene, prompt_of, shown
from media_assets_tests.hostile_urls import FORMS, SECRET
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.media.hostile_makers import picture, saved
from media_assets_tests.witness import Witness, watched

MODELS = {"replicate": ("replicate:sdxl", "replicate.delivery"), "fal": ("fal:flux-schnell", "fal.media")}
"""A picture model of each provider that hands out URLs, and a host of its outputs."""

PICTURE = frozenset({Step.IMAGE})
_numbers = itertools.count(1)

_HANDED_OUT = [(provider, name) for provider in MODELS for name in FORMS]
_REDIRECTED = ["loopback", "loopback_http", "decimal", "v6_mapped", "metadata_http", "own_host_http"]
_REDIRECTED += ["own_host_port_22", "user", "fragment_first", "longer_host"]
"""Each way to be refused once; a server would escape the forms that are no ASCII, or no address."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_scene(tmp_path_factory.mktemp("urls") / "home") as scene:
        yield scene


@pytest.fixture
def witness(scene: Scene) -> Iterator[Witness]:
    with watched() as witness:
        yield witness


def _picture_from(scene: Scene, provider: str) -> Attempt:
    number = next(_numbers)
    prompt = prompt_of(f"{provider}-{number}", number, Step.IMAGE, MODELS[provider][0], size_px=(1024, 1024))
    return scene.attempt(prompt, Step.IMAGE, wanted=PICTURE)


@dataclass(frozen=True)
class Tried:
    """One case, tried twice."""

    first: Attempt
    again: Attempt
    witness: Witness
    """Of the first time."""
    reserved_micro_usd: int
    """What the ledger held back more after the first time than before."""


def _tried(scene: Scene, provider: str) -> Tried:
    reserved = reserved_micro_usd(scene.market.home)
    with watched() as witness:
        first = _picture_from(scene, provider)
    return Tried(first, first, witness, reserved_micro_usd(scene.market.home) - reserved)


@pytest.fixture(scope="module")
def tried(scene: Scene) -> dict[tuple[str, str], Tried]:
    """Try every address one after the other, as a reply and as a redirect; then all of them again, at once."""
    cases = {}
    with no_network():
        for provider, name in _HANDED_OUT:
            scene.hand_out(provider, FORMS[name].filled(port=scene.canary_port, host=MODELS[provider][1]))
            cases[provider, name] = _tried(scene, provider)
        for name in _REDIRECTED:
            scene.redirect("replicate", FORMS[name].filled(port=scene.canary_port, host=MODELS["replicate"][1]))
            cases["redirect", name] = _tried(scene, "replicate")
        # The predictions keep their addresses; the redirects are over, and would be good now.
        scene.redirect("replicate", "https://evil.test/")
        again = scene.attempt_again([one.first for one in cases.values()], wanted=PICTURE)
    return {case: replace(one, again=last) for (case, one), last in zip(cases.items(), again, strict=True)}


def _assert_refused(attempt: Attempt, provider: str, reason: str) -> None:
    """The error is typed, names who, what for and where; the purchase is paid, once."""
    error = attempt.film.error
    assert isinstance(error, UnexpectedResponseError), error
    assert reason in error.message
    assert (error.step, error.provider, error.model) == ("image", provider, MODELS[provider][0])
    assert (error.rerun, error.billed) == (Rerun.RESUME, Billed.YES)
    assert (attempt.row.state, attempt.row.cost_micro_usd) == (PurchaseState.DONE, micro_usd(attempt.billed_usd))
    assert attempt.billed_usd > 0
    assert attempt.posts == 1


def _assert_refused_twice(scene: Scene, provider: str, reason: str, witness: Witness) -> None:
    first = _picture_from(scene, provider)

    _assert_refused(first, provider, reason)
    (again,) = scene.attempt_again([first], wanted=PICTURE)
    assert SECRET not in shown(first, scene.market.home) + shown(again, scene.market.home)
    scene.assert_untouched(witness)


def _assert_harmless(scene: Scene, tried: Tried) -> None:
    assert SECRET not in shown(tried.first, scene.market.home) + shown(tried.again, scene.market.home)
    scene.assert_untouched(tried.witness)


_REFUSED = [(provider, name) for provider, name in _HANDED_OUT if FORMS[name].words]


@pytest.mark.parametrize(("provider", "name"), _REFUSED)
def test_a_hostile_address_is_refused_with_its_host(
    scene: Scene, tried: dict[tuple[str, str], Tried], provider: str, name: str
) -> None:
    """A forged reply must not make this machine read its own network; the picture is paid for all the same."""
    one = tried[provider, name]

    _assert_refused(one.first, provider, FORMS[name].reason(port=scene.canary_port, host=MODELS[provider][1]))
    assert one.reserved_micro_usd == 0
    _assert_harmless(scene, one)


@pytest.mark.parametrize("name", _REDIRECTED)
def test_a_redirect_leads_nowhere_else_either(scene: Scene, tried: dict[tuple[str, str], Tried], name: str) -> None:
    """Who controls one allowed host must not control where the next request goes: it would carry Replicate's key."""
    one = tried["redirect", name]

    reason = FORMS[name].reason(port=scene.canary_port, host=MODELS["replicate"][1])
    _assert_refused(one.first, "replicate", reason)
    _assert_harmless(scene, one)


_UNREADABLE = [(provider, name) for provider, name in _HANDED_OUT if not FORMS[name].words]


@pytest.mark.parametrize(("provider", "name"), _UNREADABLE)
def test_what_is_no_address_is_an_answer_nobody_can_read(
    scene: Scene, tried: dict[tuple[str, str], Tried], provider: str, name: str
) -> None:
    """The prediction is kept, with what was reserved for it, until somebody can read what it made."""
    one = tried[provider, name]

    error = one.first.film.error
    assert isinstance(error, UnexpectedResponseError), error
    assert "its output cannot be read" in error.message
    assert str(one.first.row.prediction_id) in error.message
    assert (error.step, error.provider, error.rerun) == ("image", provider, Rerun.RESUME)
    assert error.billed is not Billed.NO
    assert (one.first.row.state, one.first.posts) == (PurchaseState.SUBMITTED, 1)
    assert one.reserved_micro_usd >= micro_usd(one.first.billed_usd) > 0
    _assert_harmless(scene, one)


@pytest.mark.parametrize("provider", MODELS)
def test_a_page_inside_the_address_is_no_picture(scene: Scene, witness: Witness, provider: str) -> None:
    """``data:`` is read where it stands: what it holds is examined like any file, and asks for nothing."""
    page = f"<!DOCTYPE html><html><img src='{scene.canary.url}'>{SECRET}</html>".replace(" ", "%20")
    scene.hand_out(provider, f"data:image/png,{page}")

    first = _picture_from(scene, provider)

    assert isinstance(first.film.error, ProbeError)
    assert "is a web page (HTML)" in first.film.error.message
    assert first.film.error.billed is Billed.YES
    assert (first.row.state, first.row.step) == (PurchaseState.FAILED_PAID, "image")
    assert first.row.cost_micro_usd == micro_usd(first.billed_usd) > 0
    scene.attempt_again([first], wanted=PICTURE)
    assert SECRET not in shown(first, scene.market.home)
    scene.assert_untouched(witness)


def test_a_redirect_to_itself_ends(scene: Scene, witness: Witness) -> None:
    """A loop costs four requests, not the whole deadline."""
    scene.redirect("fal", scene.store("fal", b"never read") + f"&X={SECRET}")

    _assert_refused_twice(scene, "fal", "redirected more than 3 times", witness)


_PUBLIC = "93.184.216.34"

_ANSWERS: dict[str, tuple[str, list[list[str]]]] = {
    "loopback": ("replicate", [["127.0.0.1"]]),
    "metadata": ("fal", [["169.254.169.254"]]),
    "private": ("replicate", [["10.0.0.1"]]),
    "loopback_v6": ("fal", [["::1"]]),
    "metadata_v6": ("replicate", [["fd00:ec2::254"]]),
    "nat64": ("fal", [["64:ff9b::a9fe:a9fe"]]),
    "one_of_two": ("replicate", [[_PUBLIC, "192.168.0.1"]]),
    "first_public_then_private": ("fal", [[_PUBLIC], ["127.0.0.1"]]),
}
"""Whose host it is, and what a name server that is in league says of it, one answer a look-up."""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[list[str]]], None]:
    """Return what lets the system's resolver answer for a name; nobody is at home at the public address."""
    connect = socket.socket.connect

    def bent(one: socket.socket, address: Any) -> None:
        if address[0] == _PUBLIC:
            raise ConnectionRefusedError
        connect(one, address)

    def let(host: str, answers: list[list[str]]) -> None:
        look_up, left = socket.getaddrinfo, list(answers)

        def answer(asked: Any, port: Any, *more: Any, **options: Any) -> list[Any]:
            if asked != host:
                return list(look_up(asked, port, *more, **options))
            found = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    monkeypatch.setattr(socket.socket, "connect", bent)
    return let


@pytest.mark.parametrize("case", _ANSWERS)
def test_the_right_name_with_a_private_address_is_not_followed(
    scene: Scene, witness: Witness, names: Callable[[str, list[list[str]]], None], case: str
) -> None:
    """DNS rebinding: what was looked up and checked is what is connected to, in each attempt anew."""
    provider, answers = _ANSWERS[case]
    host = MODELS[provider][1]
    scene.hand_out(provider, f"https://{host}/{SECRET}?sig={SECRET}")
    names(host, answers)

    reason = f"{host} is not followed: one of its addresses is not on the public internet"
    _assert_refused_twice(scene, provider, reason, witness)


def test_a_hostile_address_does_not_keep_the_film_from_the_next_model(scene: Scene, witness: Witness) -> None:
    """Why another model made the picture is told openly, and without the address."""
    scene.hand_out("replicate", f"https://{SECRET}:{SECRET}@evil.test/?sig={SECRET}")
    prompt = prompt_of("next-model", 9001, Step.IMAGE, "replicate:sdxl", "local:landscape", size_px=(512, 512))

    first = scene.attempt(prompt, Step.IMAGE)

    assert first.film.error is None
    assert first.film.steps[Step.IMAGE].model == "local:landscape"
    assert "an address that is not followed: it holds a user name" in str(first.film.steps[Step.IMAGE].reason)
    assert SECRET not in shown(first, scene.market.home)
    asked = scene.providers.requests()
    scene.attempt_again([first])
    assert scene.providers.requests() == asked
    scene.assert_untouched(witness)


_NAMES = {"..": False, "..%2f..%2fevil.png": True, "%00.png": True, "CON": True, "a" * 300: True, "$(id).png": True}
"""Last parts of an output's address, and whether it still leads to a file when clients have read it."""


@pytest.mark.parametrize(("name", "leads"), _NAMES.items(), ids=range(len(_NAMES)))
def test_the_name_in_an_address_never_becomes_a_file_name(
    scene: Scene, witness: Witness, name: str, *, leads: bool
) -> None:
    """The store names files by their digest, with an extension that their bytes decide."""
    content = saved(picture().resize((1024, 1024)).rotate(next(_numbers)), "PNG")
    scene.hand_out("replicate", scene.store("replicate", content, name=name))

    attempt = _picture_from(scene, "replicate")

    assert isinstance(attempt.film.error, type(None) if leads else OutputLostError), attempt.film.error
    if leads:
        artifact = attempt.film.steps[Step.IMAGE].artifact
        assert artifact is not None
        path = scene.studio.store.local_path(artifact)
        assert (path.stem, path.suffix) == (artifact.sha256, ".png")
    scene.assert_untouched(witness)
