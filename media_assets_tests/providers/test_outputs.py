"""All the forms in which providers say what they made."""

import base64
import json
from typing import Any

import pytest

from media_assets.prediction import Output, Prediction, State
from media_assets.providers import outputs
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.fal import FalAdapter
from media_assets.providers.outputs import UnreadableOutputError, every_output_of, outputs_of
from media_assets.providers.replicate import ReplicateAdapter

URL, OTHER = "https://replicate.delivery/pbxt/a/out-0.png", "https://v3.fal.media/files/b/out.mp4?x=1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PCM = bytes(range(128))


def url(*addresses: str) -> tuple[Output, ...]:
    return tuple(Output(url=address) for address in addresses)


def data(*contents: bytes) -> tuple[Output, ...]:
    return tuple(Output(data=content) for content in contents)


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(URL, url(URL), id="one URL"),
        pytest.param("http://127.0.0.1:8000/files/a", url("http://127.0.0.1:8000/files/a"), id="a plain http URL"),
        pytest.param([URL, OTHER], url(URL, OTHER), id="a list of URLs"),
        pytest.param([None, URL, None], url(URL), id="a list with gaps"),
        pytest.param([[URL], [OTHER]], url(URL, OTHER), id="lists in a list"),
        pytest.param({"url": URL}, url(URL), id="a file object"),
        pytest.param([{"url": URL}, {"url": OTHER}], url(URL, OTHER), id="a list of file objects"),
        pytest.param({"images": [{"url": URL, "width": 1, "height": 1}]}, url(URL), id="images"),
        pytest.param({"images": [URL, OTHER]}, url(URL, OTHER), id="images as URLs"),
        pytest.param(
            {"images": [{"url": URL}], "prompt": "x", "timings": {}, "seed": 1}, url(URL), id="images and more"
        ),
        pytest.param({"image": {"url": URL}}, url(URL), id="image"),
        pytest.param({"video": {"url": OTHER, "file_size": 5}, "seed": 7}, url(OTHER), id="video"),
        pytest.param({"video": OTHER}, url(OTHER), id="video as URL"),
        pytest.param({"video": {"url": OTHER}, "thumbnail": {"url": URL}}, url(OTHER), id="video and its thumbnail"),
        pytest.param({"thumbnail": {"url": URL}, "video": {"url": OTHER}}, url(OTHER), id="thumbnail first"),
        pytest.param({"audio": {"url": URL}, "duration_ms": 5}, url(URL), id="audio"),
        pytest.param({"audio": URL}, url(URL), id="audio as URL"),
        pytest.param({"audio_file": {"url": URL}}, url(URL), id="audio_file"),
        pytest.param({"audio_url": {"url": URL}}, url(URL), id="audio_url"),
        pytest.param({"audio": PCM.hex(), "duration_ms": 5}, data(PCM), id="audio as hex"),
        pytest.param({"audio": PCM.hex().upper()}, data(PCM), id="audio as hex in capitals"),
        pytest.param({"data": {"audio": PCM.hex()}}, data(PCM), id="audio as hex, further in"),
        pytest.param(PNG.hex(), data(PNG), id="hex of a medium"),
        pytest.param([PNG.hex()], data(PNG), id="hex in a list"),
        pytest.param({"data": [{"b64_json": base64_of(PNG)}]}, data(PNG), id="b64_json"),
        pytest.param({"data": [{"url": URL, "revised_prompt": "x"}]}, url(URL), id="OpenAI's url"),
        pytest.param({"data": [{"b64_json": None, "url": URL}]}, url(URL), id="b64_json null"),
        pytest.param({"data": [{"b64_json": base64_of(PNG), "url": None}]}, data(PNG), id="url null"),
        pytest.param(PNG, data(PNG), id="bytes"),
        pytest.param([PNG, PCM], data(PNG, PCM), id="a list of bytes"),
        pytest.param(f"data:image/png;base64,{base64_of(PNG)}", data(PNG), id="data URI"),
        pytest.param(f"DATA:;BASE64,{base64_of(PNG)}", data(PNG), id="data URI without a type"),
        pytest.param(f"data:audio/wav;rate=1;base64,{base64_of(PCM)}", data(PCM), id="data URI with a parameter"),
        pytest.param("data:image/png;base64,iVBORw0KGgo%3D", data(PNG[:8]), id="data URI with escaped base64"),
        pytest.param("data:image/png,%89PNG%0d%0A%1a%0A", data(PNG[:8]), id="data URI, percent-encoded"),
        pytest.param("data:,plain", data(b"plain"), id="data URI of text"),
        pytest.param({"images": [{"url": f"data:image/png;base64,{base64_of(PNG)}"}]}, data(PNG), id="fal's sync mode"),
        pytest.param({"mp4": OTHER, "seed": 1, "logs": URL}, url(OTHER), id="an object of a model's own"),
        pytest.param({"clip": {"url": OTHER}, "took": 1.5}, url(OTHER), id="an object with one file"),
        pytest.param({"output": {"video": [OTHER]}}, url(OTHER), id="containers in each other"),
        pytest.param({"images": [], "image": {"url": URL}}, url(URL), id="the first container that holds anything"),
        pytest.param({"data": {"images": [{"url": URL}]}, "status": "ok"}, url(URL), id="an envelope"),
    ],
)
def test_outputs_are_found(value: Any, expected: tuple[Output, ...]) -> None:
    assert outputs_of(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        b"",
        [],
        [None],
        [[]],
        [""],
        {},
        {"images": []},
        {"images": None},
        {"images": [None]},
        {"video": {}},
        {"video": {"url": ""}},
        {"audio": ""},
        {"url": None},
        {"b64_json": None, "url": None},
        {"data": [{}]},
        {"data": [{"b64_json": ""}]},
        "data:,",
        "data:image/png;base64,",
    ],
    ids=repr,
)
def test_nothing_is_no_output(value: Any) -> None:
    assert outputs_of(value) == ()


def _nested(depth: int, *, inner: Any, as_object: bool) -> Any:
    value = inner
    for _ in range(depth):
        value = {"images": value} if as_object else [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a picture of a cat", id="text"),
        pytest.param(["The", " answer"], id="pieces of text"),
        pytest.param([URL, "text"], id="a URL and text"),
        pytest.param("deadbeef", id="hex of no medium"),
        pytest.param(PNG.hex()[:-1], id="hex with a digit missing"),
        pytest.param({"audio": PCM.hex() + "zz"}, id="hex with other letters"),
        pytest.param({"audio": PCM.hex() + "\n"}, id="hex with a line end"),
        pytest.param({"audio": "pardon"}, id="text for sound"),
        pytest.param(7, id="a number"),
        pytest.param(True, id="a truth value"),
        pytest.param(1.5, id="a fraction"),
        pytest.param([1, 2, 3], id="numbers"),
        pytest.param("ftp://x.example/a", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("//x.example/a", id="no scheme"),
        pytest.param("https:/x.example/a", id="one slash"),
        pytest.param("https://", id="no host"),
        pytest.param("https:///a", id="an empty host"),
        pytest.param(f" {URL}", id="a space before"),
        pytest.param(f"{URL}\n", id="a line end after"),
        pytest.param(f"{URL} and more", id="words after"),
        pytest.param("https://x.example\\@y.example/", id="a backslash"),
        pytest.param("https://x.example/\x00", id="a zero byte"),
        pytest.param("https://x.example/\ud800", id="half a character"),
        pytest.param("javascript:alert(1)", id="a script"),
        pytest.param({"url": "a.png"}, id="a relative URL"),
        pytest.param({"url": PNG.hex()}, id="hex for a URL"),
        pytest.param({"url": 7}, id="a number for a URL"),
        pytest.param({"url": [URL]}, id="a list for a URL"),
        pytest.param({"url": {"url": URL}}, id="an object for a URL"),
        pytest.param({"b64_json": 7}, id="a number for base64"),
        pytest.param({"b64_json": "not base64!"}, id="broken base64"),
        pytest.param({"b64_json": base64_of(PNG)[:-1]}, id="base64 cut short"),
        pytest.param({"b64_json": base64_of(PNG) + "\n"}, id="base64 with a line end"),
        pytest.param({"b64_json": "é"}, id="base64 beyond ASCII"),
        pytest.param("data:image/png;base64", id="data URI without content"),
        pytest.param("data:image/png;base64,@@@@", id="data URI of broken base64"),
        pytest.param("data:image/png;base64,iVBORw0KGgo", id="data URI without padding"),
        pytest.param("data:image/png,%8", id="data URI with half an escape"),
        pytest.param("data:image/png,%zz", id="data URI with a wrong escape"),
        pytest.param("data:image/png,a b", id="data URI with a space"),
        pytest.param("data:image/png,\ud800", id="data URI with half a character"),
        pytest.param({"text": "hello", "took": 1}, id="an object without a file"),
        pytest.param({"a": URL, "b": OTHER}, id="an object with two files"),
        pytest.param({"detail": [{"msg": "x", "url": URL}]}, id="an error with a link to its page"),
        pytest.param({"error": URL}, id="an error that is a link"),
        pytest.param(_nested(1000, inner=URL, as_object=False), id="1,000 lists"),
        pytest.param(_nested(1000, inner=URL, as_object=True), id="1,000 objects"),
        pytest.param(_nested(1000, inner=None, as_object=False), id="1,000 lists around nothing"),
    ],
)
def test_what_is_no_output_is_refused(value: Any) -> None:
    with pytest.raises(UnreadableOutputError) as caught:
        outputs_of(value)
    assert "x.example" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_fields_of_an_unknown_object_are_named() -> None:
    with pytest.raises(UnreadableOutputError, match="several fields may be the output: gif, mp4"):
        outputs_of({"mp4": URL, "gif": OTHER})
    with pytest.raises(UnreadableOutputError, match="no field may be the output: text, took"):
        outputs_of({"text": "hello", "took": 1})


@pytest.mark.parametrize(
    "value",
    [
        b"x" * 101,
        {"b64_json": base64_of(b"x" * 101)},
        f"data:;base64,{base64_of(b'x' * 101)}",
        f"data:,{'x' * 101}",
        f"data:,{'%00' * 101}",
        {"audio": "00" * 101},
    ],
    ids=["bytes", "base64", "data URI of base64", "plain data URI", "percent-encoded data URI", "hex"],
)
def test_an_output_inside_a_reply_has_a_largest_size(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_INLINE_BYTES", 100)
    with pytest.raises(UnreadableOutputError, match="at most 100"):
        outputs_of(value)

    monkeypatch.setattr(outputs, "MAX_INLINE_BYTES", 101)
    assert [len(one.data or b"") for one in outputs_of(value)] == [101]


def test_depth_that_providers_use_is_read() -> None:
    body = json.loads('{"output": {"data": {"images": [[{"url": "https://x.example/a"}]]}}}')

    assert outputs_of(body) == url("https://x.example/a")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"mesh": URL, "preview": {"url": OTHER}}, url(URL, OTHER), id="several, and nobody says which"),
        pytest.param({"video": {"url": URL}, "thumbnail": {"url": OTHER}}, url(URL, OTHER), id="not the best alone"),
        pytest.param([URL, {"again": URL}], url(URL), id="each once"),
        pytest.param({"text": "hello", "seed": 7, "file": URL, "ok": True}, url(URL), id="beside words and numbers"),
        pytest.param("a whole story", (), id="words"),
        pytest.param(["Once ", "upon"], (), id="pieces of words"),
        pytest.param("data: is what it is about", (), id="words like a data URI"),
        pytest.param({"b64_json": base64_of(PNG)}, data(PNG), id="base64"),
        pytest.param({"b64_json": "%", "url": URL}, url(URL), id="broken base64"),
        pytest.param({"error": URL, "logs": URL}, (), id="addresses of errors"),
        pytest.param(None, (), id="nothing"),
    ],
)
def test_of_a_model_nobody_knows_every_file_is_an_output(value: Any, expected: tuple[Output, ...]) -> None:
    """Which one is *the* output matters to who builds on it; who rescues wants all."""
    assert every_output_of(value) == expected


def test_what_is_nested_too_deep_is_passed_over() -> None:
    deep: Any = URL
    for _ in range(2_000):
        deep = [deep]

    assert every_output_of(deep) == ()


@pytest.mark.parametrize(
    ("adapter", "asked", "body"),
    [
        (ReplicateAdapter(outputs_in=every_output_of), Asked.STATUS, {"output": {"a": URL, "b": OTHER}}),
        (FalAdapter(outputs_in=every_output_of), Asked.RESULT, {"mesh": {"url": URL}, "texture": {"url": OTHER}}),
    ],
)
def test_an_adapter_reads_outputs_as_it_is_told(adapter: Any, asked: Asked, body: dict[str, Any]) -> None:
    known = Prediction(id="p1", state=State.UNKNOWN, urls={"result": "https://queue.fal.run/a/b/requests/p1"})
    document = {"id": "p1", "status": "succeeded", **body} if asked is Asked.STATUS else body
    reply = HttpReply(status=200, headers={}, body=json.dumps(document).encode())

    assert adapter.parse(reply, asked, known).outputs == url(URL, OTHER)
