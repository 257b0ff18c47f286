"""Files that one look cannot take in: read on from where the look before got to, while they say what they said."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.inbox import Inbox, InboxOptions, Look, Seen
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.pins import Arrival, readable
from media_assets.prompt import Prompt

_MOST = 10
_ROWS = 95


class Reader:
    """Looks at a folder as a sensor does whose cursor is kept."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder = folder
        self.ledger = ledger
        self.cursor = "{}"
        self.wait(3600.0)

    def wait(self, patience_s: float) -> None:
        """Wait so long for the rest of a file."""
        self.inbox = Inbox(self.folder, self.ledger, InboxOptions(patience_s=patience_s, most=_MOST))

    def once(self) -> Look:
        """Look once."""
        look = self.inbox.look(Seen.of_dict(json.loads(self.cursor)))
        self.cursor = json.dumps(look.seen.as_dict())
        return look

    def settle(self) -> list[Look]:
        """Look until all has been read; return the looks that read something."""
        self.once()
        looks = [self.once()]
        while looks[-1].waiting:
            assert len(looks) < _ROWS, looks[-1].waiting
            looks.append(self.once())
        return looks

    def arrived(self) -> list[str]:
        """Return the keys, in the order in which their last form came."""
        return [one.key for one in self.ledger.prompts.arrived_after(0, most=1000)]

    def words(self, key: str) -> tuple[str, int]:
        """Return what a prompt says and how often it was pinned."""
        found = self.ledger.prompts.get(key)
        assert found is not None
        return found.prompt.prompt, found.pin_seq


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "inbox"
    folder.mkdir()
    with open_ledger(tmp_path / "home") as ledger:
        yield Reader(folder, ledger)


def _line(key: str, prompt: str = "x") -> str:
    return json.dumps({"key": key, "prompt": prompt}) + "\n"


def _keys(count: int = _ROWS) -> list[str]:
    return [f"k{number}" for number in range(count)]


def _as_jsonl(keys: Iterable[str]) -> str:
    return "".join(map(_line, keys))


def _as_csv(keys: Iterable[str]) -> str:
    return "key,prompt\n" + "".join(f'{key},"a\n{key}"\n' for key in keys)


def _as_json(keys: Iterable[str]) -> str:
    return json.dumps([{"key": key, "prompt": "x"} for key in keys])


@pytest.mark.parametrize(
    ("name", "form"), [("a.jsonl", _as_jsonl), ("a.csv", _as_csv), ("a.json", _as_json)], ids=["jsonl", "csv", "json"]
)
def test_rows_are_pinned_in_order_and_each_once(
    reader: Reader, name: str, form: Callable[[Iterable[str]], str]
) -> None:
    (reader.folder / name).write_text(form(_keys()))

    looks = reader.settle()

    assert [look.pinned for look in looks] == [_MOST] * 9 + [5]
    assert reader.arrived() == _keys()
    assert {reader.words(key)[1] for key in _keys()} == {1}
    assert len(reader.cursor) < 200
    assert looks[-1].checked <= _MOST, "and a late look does not check again what an early one did"


@pytest.mark.parametrize(("name", "form"), [("a.jsonl", _as_jsonl), ("a.csv", _as_csv)], ids=["jsonl", "csv"])
def test_no_look_costs_what_the_whole_file_does(
    reader: Reader, name: str, form: Callable[[Iterable[str]], str]
) -> None:
    """Early ones neither: what is not taken in yet is not checked."""
    (reader.folder / name).write_text(form(_keys()))

    assert all(look.checked <= 2 * _MOST for look in reader.settle())


def test_what_is_added_to_a_file_that_was_read_is_read_alone(reader: Reader) -> None:
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()))
    reader.settle()
    with file.open("a") as lines:
        lines.write(_line("new") + _line("k3", "changed"))

    (look,) = reader.settle()

    assert (look.pinned, look.checked) == (2, 2)
    assert reader.arrived()[-2:] == ["new", "k3"]
    assert reader.words("k3") == ("changed", 2)


@pytest.mark.parametrize("at", [0, _ROWS - 1])
def test_a_row_that_is_edited_is_noticed_though_the_file_grew(reader: Reader, at: int) -> None:
    """As long as it was, so that nothing else has moved."""
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()))
    reader.settle()
    text = file.read_text().replace(_line(f"k{at}"), _line(f"k{at}", "y"))
    file.write_text(text + _line("new"))

    (look,) = reader.settle()

    assert (look.pinned, look.checked) == (2, _ROWS + 1)
    assert reader.words(f"k{at}") == ("y", 2)
    assert reader.arrived()[-2:] == [f"k{at}", "new"]


def test_the_last_row_of_a_key_counts_however_many_looks_lie_between(reader: Reader) -> None:
    """The first form would be bought for nothing."""
    file = reader.folder / "a.jsonl"
    file.write_text(_line("twice", "first") + _as_jsonl(_keys()) + _line("twice", "last") + '{"key": "k1"}\n')

    reader.settle()

    assert reader.arrived() == [*_keys(), "twice"]
    assert reader.words("twice") == ("last", 1)
    assert reader.words("k1") == ("x", 1), "a row that is no prompt takes no other's place"


def test_a_row_that_was_passed_over_counts_when_the_later_one_is_taken_back(reader: Reader) -> None:
    file = reader.folder / "a.jsonl"
    file.write_text(_line("twice", "first") + _as_jsonl(_keys()) + _line("twice", "last"))
    for _ in range(4):
        reader.once()
    file.write_text(_line("twice", "first") + _as_jsonl(_keys()))

    reader.settle()

    assert reader.words("twice") == ("first", 1)
    assert sorted(reader.arrived()) == sorted([*_keys(), "twice"])


def test_keys_that_are_made_from_their_rows_are_compared_as_well(reader: Reader) -> None:
    """Only a row that was checked has one."""
    text = "".join(json.dumps({"prompt": f"barn {number % 40}"}) + "\n" for number in range(60))
    (reader.folder / "a.jsonl").write_text(text)

    reader.settle()

    prompts = [one.prompt.prompt for one in readable(reader.ledger.prompts.arrived_after(0, most=1000))]
    assert prompts == [f"barn {number % 40}" for number in range(20, 60)]

    made = Prompt.model_validate({"prompt": "a mill"}).key
    (reader.folder / "b.jsonl").write_text('{"prompt": "a mill"}\n' + _line(made, "a tower"))
    reader.settle()
    assert reader.words(made) == ("a tower", 1)


def test_a_cursor_that_is_lost_costs_a_look_and_no_prompt(reader: Reader) -> None:
    """Nor a query for each row."""
    (reader.folder / "a.jsonl").write_text(_as_jsonl(_keys()))
    reader.settle()
    arrived = [(one.key, one.arrived) for one in reader.ledger.prompts.arrived_after(0, most=1000)]
    reader.cursor = "{}"
    statements = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(reader.ledger.database.engine, "before_cursor_execute", note)
    (look,) = reader.settle()
    sa.event.remove(reader.ledger.database.engine, "before_cursor_execute", note)

    assert (look.pinned, look.checked) == (0, _ROWS)
    assert [(one.key, one.arrived) for one in reader.ledger.prompts.arrived_after(0, most=1000)] == arrived
    assert len([one for one in statements if one.startswith("SELECT")]) < _ROWS / 2


def test_a_look_whose_cursor_was_lost_leaves_nothing_behind_that_is_believed(reader: Reader) -> None:
    """A, B, A: the daemon died behind B, and its cursor says that A was read."""
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()))
    reader.settle()
    kept = reader.cursor
    file.write_text(_line("k0", "B") + _as_jsonl(_keys()[1:]))
    reader.settle()
    assert reader.words("k0") == ("B", 2)
    reader.cursor = kept
    file.write_text(_as_jsonl(_keys()))

    reader.settle()

    assert reader.words("k0") == ("x", 3)


def test_a_file_that_says_again_what_it_once_said_is_read(reader: Reader) -> None:
    """A, B, A, with a B so small that nothing is kept of it."""
    file = reader.folder / "a.jsonl"
    for text in (_as_jsonl(_keys()), _line("k0", "B"), _as_jsonl(_keys())):
        file.write_text(text)
        reader.settle()

    assert reader.words("k0") == ("x", 3)


@pytest.mark.parametrize(
    ("name", "start", "rest"),
    [
        ("a.csv", _as_csv(_keys()) + "last,a bar", "n\n"),
        ("a.jsonl", _as_jsonl(_keys()) + _line("last", "a barn")[:-1], "\n"),
    ],
)
def test_a_last_row_without_its_end_may_become_another(reader: Reader, name: str, start: str, rest: str) -> None:
    file = reader.folder / name
    file.write_text(start)
    reader.wait(-1.0)
    reader.settle()
    assert reader.words("last")[0].startswith("a bar")
    with file.open("a") as lines:
        lines.write(rest)

    (look,) = reader.settle()

    assert reader.words("last")[0] == "a barn"
    assert (look.checked, look.refused) == (1, [])


def test_a_line_that_is_half_written_costs_no_look_at_all_the_others(reader: Reader) -> None:
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()) + '{"key": "last", "pro')
    reader.once()
    looks = [reader.once() for _ in range(12)]

    assert (looks[-1].checked, looks[-1].waiting) == (0, {"a.jsonl": "its last line is not ended yet"})
    with file.open("a") as lines:
        lines.write('mpt": "x"}\n')
    (look,) = reader.settle()
    assert (look.pinned, look.checked) == (1, 1)


def test_a_bad_row_is_told_once_however_often_the_file_grows(reader: Reader) -> None:
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys(30)) + "nonsense\n[]\n" + _as_jsonl(_keys()[30:]))
    told = [one.where for look in reader.settle() for one in look.refused]
    with file.open("a") as lines:
        lines.write(_line("new") + '{"key": "bad"}\n')
    told += [one.where for look in reader.settle() for one in look.refused]

    assert told == ["a.jsonl, line 31", "a.jsonl, line 32", "a.jsonl, line 99"]
    assert reader.arrived() == [*_keys(), "new"]


def test_what_is_nothing_but_nonsense_fills_no_disk(reader: Reader) -> None:
    """It holds up no good row either."""
    (reader.folder / "a.jsonl").write_text("".join(f"nonsense {n}\n" for n in range(1010)) + _line("good"))

    assert sum(len(look.refused) for look in reader.settle()) == 1000
    assert reader.arrived() == ["good"]


def test_a_row_that_could_not_be_set_aside_is_when_the_file_is_read_again(reader: Reader) -> None:
    (reader.folder / "bad").write_text("in the way")
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys(10)) + "nonsense\n" + _as_jsonl(_keys()[10:]))
    for _ in range(12):
        reader.once()
    assert reader.arrived() == _keys()
    (reader.folder / "bad").unlink()
    with file.open("a") as lines:
        lines.write(_line("new"))

    (look,) = reader.settle()

    assert [one.where for one in look.refused] == ["a.jsonl, line 11"]
    assert look.pinned == 1


def test_a_row_whose_key_another_file_had_comes_when_that_one_has_it_no_more(reader: Reader) -> None:
    """And the other file is read once in a look, however many keys they share."""
    other = reader.folder / "a.jsonl"
    other.write_text(_line("k20", "mine") + _line("k21", "mine"))
    reader.settle()
    file = reader.folder / "b.jsonl"
    file.write_text(_as_jsonl(_keys()))
    looks = reader.settle()
    assert [one.where for look in looks for one in look.refused] == ["b.jsonl, line 21", "b.jsonl, line 22"]
    assert looks[1].checked == 2 * _MOST + 2
    other.write_text(_line("another"))
    reader.settle()
    assert reader.words("k20") == ("mine", 1)
    with file.open("a") as lines:
        lines.write(_line("new"))

    reader.settle()

    assert (reader.words("k20"), reader.words("k21")) == (("x", 2), ("x", 2))


def test_another_file_that_cannot_be_read_any_more_has_no_keys(reader: Reader) -> None:
    (reader.folder / "a.json").write_text(_as_json(["one"]))
    reader.settle()
    (reader.folder / "a.json").write_text("[")
    (reader.folder / "b.jsonl").write_text(_line("one", "theirs"))
    for _ in range(2):
        reader.once()

    assert reader.words("one") == ("theirs", 2)


def test_a_file_of_one_piece_that_changes_is_read_from_its_start(reader: Reader) -> None:
    """A JSON list that is longer is another one; one that was touched alone is not."""
    file = reader.folder / "a.json"
    file.write_text(_as_json(_keys()))
    reader.settle()
    file.write_text(_as_json(_keys()))
    (touched,) = reader.settle()
    file.write_text(_as_json(_keys()) + "\n")
    (longer,) = reader.settle()

    assert (touched.checked, longer.checked) == (1, _ROWS), "its last row has no line end, and is looked at again"
    assert (touched.pinned, longer.pinned) == (0, 0)


def test_a_file_of_one_piece_with_a_bad_end_is_not_set_aside_as_a_whole(reader: Reader) -> None:
    rows = [*({"key": key, "prompt": "x"} for key in _keys(20)), *({"key": f"bad{n}"} for n in range(3))]
    (reader.folder / "a.json").write_text(json.dumps(rows))

    told = [one.where for look in reader.settle() for one in look.refused]

    assert told == ["a.json, row 21", "a.json, row 22", "a.json, row 23"]
    (reader.folder / "a.json").write_text(json.dumps(rows))
    assert [look.refused for look in reader.settle()] == [[]]
    assert (reader.folder / "a.json").exists()


def test_a_file_without_a_row_waits_and_is_then_set_aside(reader: Reader) -> None:
    (reader.folder / "a.jsonl").write_text("\n\n")
    reader.once()
    assert list(reader.once().waiting) == ["a.jsonl"]
    reader.wait(-1.0)

    (refused,) = reader.once().refused

    assert (refused.aside, "holds no prompt" in refused.error) == ("bad/a.jsonl", True)


def test_a_file_that_is_renamed_is_nothing_new(reader: Reader) -> None:
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()))
    reader.settle()
    file.rename(reader.folder / "b.jsonl")

    assert sum(look.pinned for look in reader.settle()) == 0
    assert reader.words("k0") == ("x", 1)


def test_what_arrives_meanwhile_by_another_way_makes_a_look_check_all(reader: Reader) -> None:
    """It may have been a look whose cursor was lost; no row is pinned again for that."""
    file = reader.folder / "a.jsonl"
    file.write_text(_as_jsonl(_keys()))
    reader.settle()
    submitted = Prompt.model_validate({"key": "submitted", "prompt": "x"})
    reader.ledger.prompts.pin([submitted], source="a form", arrival=Arrival())
    with file.open("a") as lines:
        lines.write(_line("new"))

    (look,) = reader.settle()[-1:]

    assert (look.pinned, look.checked) == (1, _ROWS + 1)
    assert reader.arrived() == [*_keys(), "submitted", "new"]
