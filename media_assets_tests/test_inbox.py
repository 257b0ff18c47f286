"""Prompts that arrive by file and by table: pinned once, in order; what cannot be used is set aside and told."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_assets.inbox import Inbox, InboxOptions, Look, Seen
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.pins import PinnedPrompt, readable

_PATIENT = InboxOptions(patience_s=3600.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "home") as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


Watch = Callable[[], Look]


@pytest.fixture
def watch(folder: Path, ledger: Ledger) -> Watch:
    """Look twice, as a sensor does whose cursor is kept: what is new is read by the second look."""
    seen = [Seen()]

    def once() -> Look:
        look = Inbox(folder, ledger, _PATIENT).look(seen[0])
        seen[0] = Seen.of_dict(json.loads(json.dumps(look.seen.as_dict())))
        return look

    def twice() -> Look:
        first, second = once(), once()
        assert not first.pinned or first.pinned == second.pinned == 0, "a file was read at first sight"
        return second

    return twice


def _arrived(ledger: Ledger) -> list[str]:
    return [one.key for one in ledger.prompts.arrived_after(0, most=1000)]


def _pinned(ledger: Ledger, key: str) -> PinnedPrompt:
    found = ledger.prompts.get(key)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "text", "keys"),
    [
        ("one.yaml", "key: one\nprompt: a red barn\n", ["one"]),
        ("two.yml", "- {key: a, prompt: a}\n- {key: b, prompt: b}\n", ["a", "b"]),
        ("three.json", '{"key": "three", "prompt": "a barn"}', ["three"]),
        ("four.jsonl", '{"key": "a", "prompt": "a"}\n{"key": "b", "prompt": "b"}\n', ["a", "b"]),
        ("five.csv", "key,prompt\na,a barn\nb,b\n", ["a", "b"]),
    ],
)
def test_a_file_of_any_kind_is_read_once_it_has_settled(
    folder: Path, ledger: Ledger, watch: Watch, *, name: str, text: str, keys: list[str]
) -> None:
    """And never again while it stays the same; nor is it touched."""
    (folder / name).write_text(text)

    assert watch().pinned == len(keys)

    assert _arrived(ledger) == keys
    assert watch().pinned == 0
    assert (folder / name).read_text() == text
    assert _pinned(ledger, keys[0]).source == str(folder / name)


def test_the_same_file_again_is_nothing_new(folder: Path, ledger: Ledger, watch: Watch) -> None:
    """Copied over itself, touched, or read by somebody whose cursor is gone."""
    (folder / "one.yaml").write_text("key: one\nprompt: a red barn\n")
    watch()
    (folder / "one.yaml").write_text("key: one\nprompt: a red barn\n")

    assert watch().pinned == 0
    again = Inbox(folder, ledger, _PATIENT)
    assert again.look(again.look(Seen()).seen).pinned == 0
    assert [one.arrived for one in ledger.prompts.arrived_after(0, most=9)] == [1]


def test_an_edited_prompt_arrives_again_and_the_last_edit_counts(folder: Path, ledger: Ledger, watch: Watch) -> None:
    """A, B, A is three pins and ends at A: a run for B that comes late finds that it is not wanted any more."""
    file = folder / "one.yaml"
    seqs = []
    for words in ("A", "B", "A"):
        file.write_text(f"key: one\nprompt: {words}\n")
        assert watch().pinned == 1
        pinned = _pinned(ledger, "one")
        seqs.append((pinned.prompt.prompt, pinned.pin_seq, pinned.arrived))

    assert seqs == [("A", 1, 1), ("B", 2, 2), ("A", 3, 3)]


def test_lines_that_are_added_arrive_and_the_last_of_a_key_counts(folder: Path, ledger: Ledger, watch: Watch) -> None:
    """A file that grows is a journal: who changes a mind adds a line."""
    file = folder / "all.jsonl"
    with file.open("a") as lines:
        for words in ("A", "B", "A"):
            lines.write(json.dumps({"key": "one", "prompt": words}) + "\n")
            lines.write(json.dumps({"key": f"more-{words.lower()}", "prompt": "x"}) + "\n")
            lines.flush()
            watch()

    assert _arrived(ledger) == ["more-a", "more-b", "one"]
    assert (_pinned(ledger, "one").prompt.prompt, _pinned(ledger, "one").pin_seq) == ("A", 3)


@pytest.mark.parametrize(
    ("name", "start", "rest", "at_first"),
    [
        ("a.jsonl", '{"key": "a", "prompt": "a"}\n{"key": "b", "pro', 'mpt": "b"}\n', 1),
        ("a.jsonl", '{"key": "a", "pro', 'mpt": "a"}\n{"key": "b", "prompt": "b"}', 0),
        ("a.csv", "key,prompt\na,a\nb,a bar", "n\n", 1),
        ("a.csv", 'key,prompt\na,"a\n', 'barn"\nb,b\n', 0),
        ("a.json", '[{"key": "a", "prompt": "a"}, {"key": "b"', ', "prompt": "b"}]', 0),
        ("a.yaml", "- {key: a, prompt: a}\n- {key: b, prom", "pt: b}\n", 0),
        ("a.yaml", "", "- {key: a, prompt: a}\n- {key: b, prompt: b}\n", 0),
    ],
)
def test_what_is_half_written_waits(
    folder: Path, ledger: Ledger, watch: Watch, *, name: str, start: str, rest: str, at_first: int
) -> None:
    """It is neither read as if it were whole nor set aside as bad while somebody may be writing."""
    (folder / name).write_text(start)

    look = watch()
    assert (len(_arrived(ledger)), look.refused, list(look.waiting)) == (at_first, [], [name])
    with (folder / name).open("a") as file:
        file.write(rest)
    look = watch()

    assert (_arrived(ledger), look.waiting) == (["a", "b"], {})
    assert not (folder / "bad").exists()


def test_what_stays_half_written_is_told_in_the_end(folder: Path, ledger: Ledger) -> None:
    """A last line without its end counts after a while, and a file that is nothing is set aside."""
    (folder / "last.csv").write_text("key,prompt\na,a\nb,b")
    (folder / "cut.json").write_text('{"key": "c", "pro')
    inbox = Inbox(folder, ledger, InboxOptions(patience_s=0.05))
    seen = inbox.look(Seen()).seen
    time.sleep(0.1)

    look = inbox.look(seen)

    assert _arrived(ledger) == ["a", "b"]
    assert [(one.where, one.aside) for one in look.refused] == [("cut.json", "bad/cut.json")]
    assert "not well-formed JSON" in (folder / "bad" / "cut.json.error.txt").read_text()
    assert not (folder / "cut.json").exists()


def test_a_bad_prompt_is_set_aside_with_its_error_and_holds_up_nobody(
    folder: Path, ledger: Ledger, watch: Watch
) -> None:
    (folder / "bad.yaml").write_text("key: Not A Key\nprompt: x\n")
    (folder / "good.yaml").write_text("key: good\nprompt: x\n")
    (folder / "mixed.jsonl").write_text(
        '{"key": "a", "prompt": "a"}\n{"key": "b"}\nnonsense\n{"key": "c", "prompt": "c"}\n'
    )
    (folder / "mixed.csv").write_text("key,prompt,size_px\nd,d,\ne,e,huge\n")

    look = watch()

    assert sorted(_arrived(ledger)) == ["a", "c", "d", "good"]
    assert [one.where for one in look.refused] == [
        "bad.yaml",
        "mixed.jsonl, line 2",
        "mixed.jsonl, line 3",
        "mixed.csv, row 2",
    ]
    assert {path.name for path in folder.iterdir()} == {"bad", "good.yaml", "mixed.csv", "mixed.jsonl"}
    for one in look.refused:
        aside = folder / one.aside
        assert aside.is_file()
        error = aside.with_name(f"{aside.name}.error.txt").read_text()
        assert one.error in error
        assert "put it back" in error
    assert json.loads((folder / look.refused[1].aside).read_text()) == {"key": "b"}
    assert (folder / look.refused[2].aside).read_text() == "nonsense"

    with (folder / "mixed.jsonl").open("a") as file:
        file.write('{"key": "f", "prompt": "f"}\n')
    assert watch().refused == [], "told once"
    assert "f" in _arrived(ledger)


def test_a_corrected_file_that_is_put_back_is_read(folder: Path, ledger: Ledger, watch: Watch) -> None:
    (folder / "one.yaml").write_text("key: one\n")
    watch()
    (folder / "one.yaml").write_text("key: one\n")
    assert [one.aside for one in watch().refused] == ["bad/one-2.yaml"], "and nothing that was set aside is overwritten"
    (folder / "bad" / "one.yaml").rename(folder / "one.yaml")
    with (folder / "one.yaml").open("a") as file:
        file.write("prompt: a barn\n")

    watch()

    assert _arrived(ledger) == ["one"]


def test_two_files_do_not_take_turns_with_a_key(folder: Path, ledger: Ledger, watch: Watch) -> None:
    """Each would undo the other, and each turn would be bought."""
    (folder / "a.yaml").write_text("key: one\nprompt: A\n")
    watch()
    (folder / "b.yaml").write_text("- {key: one, prompt: B}\n- {key: two, prompt: B}\n")
    look = watch()

    assert (_pinned(ledger, "one").prompt.prompt, _arrived(ledger)) == ("A", ["one", "two"])
    assert "already used by a.yaml" in look.refused[0].error

    (folder / "a.yaml").rename(folder / "c.yaml")
    watch()
    assert _pinned(ledger, "one").pin_seq == 1, "renamed is not another"


def test_one_look_takes_in_a_few_and_the_next_goes_on(folder: Path, ledger: Ledger) -> None:
    (folder / "many.jsonl").write_text("".join(json.dumps({"key": f"k{n}", "prompt": "x"}) + "\n" for n in range(25)))
    inbox = Inbox(folder, ledger, InboxOptions(most=10))
    seen, counts = Seen(), []
    for _ in range(5):
        look = inbox.look(seen)
        seen = look.seen
        counts.append(look.pinned)

    assert counts == [0, 10, 10, 5, 0]
    assert _arrived(ledger) == [f"k{n}" for n in range(25)]


def test_what_other_programs_hand_in_is_read_in_order(folder: Path, ledger: Ledger) -> None:
    """All they have to write is the body."""
    with ledger.database.write() as connection:
        connection.exec_driver_sql('INSERT INTO inbox (body) VALUES (\'{"key": "one", "prompt": "A"}\')')
    ledger.inbox.hand_in(json.dumps({"key": "two", "prompt": "x"}), priority=7, source="the shop")
    ledger.inbox.hand_in('{"key": "one"', source="the shop")
    ledger.inbox.hand_in('["no prompt"]')
    ledger.inbox.hand_in(json.dumps({"key": "one", "prompt": "B"}))

    look = Inbox(folder, ledger).look(Seen())

    assert (look.pinned, len(look.refused)) == (3, 2)
    assert [
        (one.key, one.prompt.prompt, one.priority) for one in readable(ledger.prompts.arrived_after(0, most=9))
    ] == [
        ("two", "x", 7),
        ("one", "B", 0),
    ]
    assert ledger.inbox.unread(most=9) == []
    assert _pinned(ledger, "one").pin_seq == 2


def test_what_is_no_prompt_in_the_table_is_marked(folder: Path, ledger: Ledger) -> None:
    for body in ("", "[]", '{"key": "x"}', "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")):
        ledger.inbox.hand_in(body)

    look = Inbox(folder, ledger).look(Seen())

    assert [one.where for one in look.refused] == [f"row {n} of the table inbox" for n in (1, 2, 3, 4)]
    assert all("nothing was sent" in one.error for one in look.refused)
    assert ledger.inbox.unread(most=9) == []


def test_what_is_no_file_with_prompts_is_let_be(folder: Path, ledger: Ledger, watch: Watch) -> None:
    """A pipe would block whoever opens it."""
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    (folder / ".hidden.yaml").write_text("nonsense")
    (folder / "one.yaml.part").write_text("nonsense")
    (folder / "notes.txt").write_text("nonsense")
    (folder / "gone.yaml").symlink_to("nowhere")

    look = watch()

    assert (look.pinned, look.refused, look.waiting) == (0, [], {})


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path, ledger: Ledger) -> None:
    look = Inbox(tmp_path / "none", ledger).look(Seen())

    assert (look.pinned, look.waiting) == (0, {})
