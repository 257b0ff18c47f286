"""Running the tests against mutants: each gets a fork of a process that has imported everything, and a deadline.

In the fork the changed function takes the place of the imported one, and the tests that run through the change follow,
the file's own and then the fastest first, until one fails.
"""

import ast
import contextlib
import dataclasses
import functools
import gc
import itertools
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import coverage
import pytest

from benchmarks.mutating import Mutant, lines_of, mutated_tree

_LANES = 2
_TESTS_S = 25.0
"""For each mutant, by the tests' time without one: a change that none notices does not hold up all others."""
_QUICK_S = 1.0
_GRACE_S, _SLOWER = 10.0, 5
"""After the tests' time, so much times slower, and this, a mutant hangs."""

_Functions = dict[tuple[str, str, int], list[types.FunctionType]]

_NOTICED, _NOT_IN_PLACE = 1, 3


class _CannotBeImportedError(Exception):
    """The file raises as soon as it is imported: nobody could overlook that."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one mutant."""

    index: int
    what: str
    """``killed``, ``survived``, ``timed out`` or ``not in place``."""
    tests: int
    """How many were chosen for it."""
    left_out: int
    """How many more run through it, and would take too long together."""
    seconds: float


class MutantRuns:
    """A plugin of pytest that runs the mutants where pytest would run the tests."""

    def __init__(self, mutants: list[Mutant], budget_s: float, tell: Callable[[Outcome], None]) -> None:
        self.mutants = mutants
        self.budget_s = budget_s
        self.failed = False
        """Whether a test fails without any mutant."""
        self._tell = tell
        self._lines: dict[Path, dict[int, set[str]]] = {}
        self._durations_s: dict[str, float] = defaultdict(float)
        self._items: dict[str, pytest.Item] = {}
        self._functions: _Functions = {}
        self._on_failure: Callable[[str], None] = self._note_failure

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long a test took, and what becomes of a failure: the process of a mutant ends with the first one."""
        self._durations_s[report.nodeid] += report.duration
        if report.failed:
            self._on_failure(report.nodeid)

    def _note_failure(self, _name: str) -> None:
        self.failed = True

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once as they are, then the mutants."""
        self._items = {item.nodeid: item for item in session.items}
        self._run_unchanged(session.items)
        if not self.failed:
            tests_s = sum(self._durations_s.values())
            print(f"\n{len(session.items)} tests in {tests_s:.0f} s; now {len(self.mutants)} mutants", flush=True)
            self._leave_out_what_fails_in_a_fork()
            self._functions = _functions_in({str(mutant.path) for mutant in self.mutants})
            for outcome in _read([self._fork_lane(number) for number in range(_LANES)]):
                self._tell(Outcome(**outcome))
        # Before pytest removes the folders in which the servers are.
        session._setupstate.teardown_exact(None)  # noqa: SLF001 - as below
        return True

    def _run_unchanged(self, items: list[pytest.Item]) -> None:
        paths = {mutant.path for mutant in self.mutants}
        measure = coverage.Coverage(data_file=None, config_file=False, include=[str(path) for path in paths])
        # What all tests share, a server above all, must outlive the last one: so one of no folder "comes after it".
        shallow = min(items, key=lambda item: len(item.listchain()))
        measure.start()
        for item, following in zip(items, [*items[1:], shallow], strict=True):
            measure.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        measure.stop()
        for path in paths:
            lines = measure.get_data().contexts_by_lineno(str(path))
            self._lines[path] = {line: {name for name in names if name} for line, names in lines.items()}

    def _leave_out_what_fails_in_a_fork(self) -> None:
        """The control: without any change, every test passes where the mutants run, or it would kill them all."""
        items = list(self._items.values())
        for told in _read([self._fork_control(items[number::_LANES]) for number in range(_LANES)]):
            del self._items[told["fails"]]
            print(f"fails in a fork without any mutant, so it is left out: {told['fails']}", flush=True)

    def _fork_control(self, items: list[pytest.Item]) -> int:
        reading, writing = os.pipe()
        if os.fork() == 0:

            def tell(name: str) -> None:
                if name not in told:
                    told.add(name)
                    os.write(writing, (json.dumps({"fails": name}) + "\n").encode())

            told: set[str] = set()
            try:
                with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
                    self._run_quietly(items, Path(folder), tell)
            finally:
                os._exit(0)
        os.close(writing)
        return reading

    def _tests_of(self, mutant: Mutant) -> tuple[list[pytest.Item], int]:
        """Return the tests to run for a mutant, the quick ones of its file first, and how many more there would be."""
        lines = self._lines[mutant.path]
        names = {name for line in lines_of(mutant) for name in lines.get(line, ())} & self._items.keys()
        own = {name for name in self._items if f"/test_{mutant.path.stem}.py" in name}
        names = names or own
        quick = {name for name in own if self._durations_s[name] < _QUICK_S}
        chosen: list[pytest.Item] = []
        total_s = 0.0
        for name in sorted(names, key=lambda name: (name not in quick, self._durations_s[name])):
            total_s += self._durations_s[name]
            if chosen and total_s > _TESTS_S:
                break
            chosen.append(self._items[name])
        return chosen, len(names) - len(chosen)

    def _fork_lane(self, number: int) -> int:
        """Fork a process for every ``_LANES``-th mutant; return where its outcomes come from, one JSON a line."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
                    self._run_lane(number, writing, Path(folder))
            finally:
                os._exit(0)
        os.close(writing)
        return reading

    def _run_lane(self, number: int, writing: int, folder: Path) -> None:
        until = time.monotonic() + self.budget_s
        for index in range(number, len(self.mutants), _LANES):
            if time.monotonic() > until:
                break
            outcome = self._try(index, folder)
            os.write(writing, (json.dumps(dataclasses.asdict(outcome)) + "\n").encode())

    def _try(self, index: int, folder: Path) -> Outcome:
        mutant = self.mutants[index]
        items, left_out = self._tests_of(mutant)
        if not items:
            return Outcome(index, "survived", 0, left_out, 0.0)
        expected_s = sum(self._durations_s[item.nodeid] for item in items)
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._run_child(mutant, items, folder)
        code = _wait(pid, _GRACE_S + _SLOWER * expected_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what the tests had started
        for left in folder.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        what = {None: "timed out", 0: "survived", _NOT_IN_PLACE: "not in place"}.get(code, "killed")
        return Outcome(index, what, len(items), left_out, time.monotonic() - begun)

    def _run_child(self, mutant: Mutant, items: list[pytest.Item], folder: Path) -> NoReturn:
        """Make the change in this process and run the tests."""
        code = _NOT_IN_PLACE
        try:
            os.setsid()
            _put_in_place(mutant, self._functions)
            code = _NOTICED
            self._run_quietly(items, folder, lambda _name: os._exit(_NOTICED))
            code = 0
        except _CannotBeImportedError:
            code = _NOTICED
        except Exception:  # noqa: BLE001 - a change that breaks pytest itself is noticed, too
            if code == _NOT_IN_PLACE:
                traceback.print_exc()
        finally:
            os._exit(code)

    def _run_quietly(self, items: list[pytest.Item], folder: Path, on_failure: Callable[[str], None]) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        config = items[0].config
        config.pluginmanager.unregister(name="terminalreporter")
        # pytest has no public way to these: tests of two lanes must not share a folder, and what is still set up is
        # what the last test shares with the one that "came after it".
        config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]  # noqa: SLF001
        items[0].session._setupstate.teardown_exact(items[0])  # noqa: SLF001
        self._on_failure = on_failure
        for item, following in zip(items, [*items[1:], items[-1]], strict=True):
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _wait(pid: int, within_s: float) -> int | None:
    """Return how a child ended; end it, and return None, if it does not in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _read(descriptors: list[int]) -> Iterator[dict[str, Any]]:
    """Read the lanes' outcomes as they come."""
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for descriptor in descriptors:
            file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=0))
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if line := key.fileobj.readline():  # type: ignore[union-attr]
                    yield json.loads(line)
                else:
                    selector.unregister(key.fileobj)


def _functions_in(paths: set[str]) -> _Functions:
    """Find every function of these files that there is, however it is wrapped."""
    gc.unfreeze()  # the tests freeze what is imported, and what is frozen is not told of
    found: _Functions = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__code__.co_filename in paths:
            code = one.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(one)
    return found


def _put_in_place(mutant: Mutant, functions: _Functions) -> None:
    tree = mutated_tree(mutant)
    if mutant.is_assignment:
        _assign(mutant, tree, functions)
        return
    _forget_cached(str(mutant.path))
    done = 0
    for code in _codes_in(compile(tree, str(mutant.path), "exec")):
        if code.co_qualname == mutant.function:
            for function in functions[code.co_filename, code.co_qualname, code.co_firstlineno]:
                function.__code__ = code
                done += 1
    if not done:
        message = f"{mutant.function} is not in use"
        raise LookupError(message)


def _forget_cached(path: str) -> None:
    """Clear what functions of a file remember from before the change."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):  # noqa: SLF001
            code = getattr(one.__wrapped__, "__code__", None)
            if code is not None and code.co_filename == path:
                one.cache_clear()


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _codes_in(one)


def _assign(mutant: Mutant, tree: ast.Module, functions: _Functions) -> None:
    """Evaluate a module's changed assignment, and those that build on it, and give them to whoever has taken them."""
    modules = [one for one in sys.modules.values() if getattr(one, "__name__", "").startswith("media_assets")]
    (home,) = (one for one in modules if getattr(one, "__file__", None) == str(mutant.path))
    before, after = dict(vars(home)), dict(vars(home))
    names: set[str] = set()
    for statement in tree.body:
        target = _assigned(statement)
        is_changed = statement.lineno <= mutant.line <= (statement.end_lineno or 0)
        if target and (is_changed or names & {one.id for one in ast.walk(statement) if isinstance(one, ast.Name)}):
            try:
                exec(compile(ast.Module([statement], []), str(mutant.path), "exec"), after)  # noqa: S102 - our own
            except Exception as error:
                raise _CannotBeImportedError from error
            names.add(target)
    for module in modules:
        for name in names:
            if vars(module).get(name) is before[name]:
                setattr(module, name, after[name])
    # Numbers and words are shared by whoever has equal ones.
    changed = {id(before[name]): after[name] for name in names if not isinstance(before[name], int | str | None)}
    for function in itertools.chain.from_iterable(functions.values()):
        if function.__defaults__:
            function.__defaults__ = tuple(changed.get(id(one), one) for one in function.__defaults__)
        by_keyword = function.__kwdefaults__ or {}
        by_keyword |= {name: changed.get(id(one), one) for name, one in by_keyword.items()}


def _assigned(statement: ast.stmt) -> str:
    """Return the name that a module's own assignment gives a value to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return targets[0].id if isinstance(targets[0], ast.Name) else ""
