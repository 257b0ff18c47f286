"""Mutants of a source file: small changes of its syntax tree, each of which the tests ought to notice.

Changed are the bodies of functions and what a module assigns to its names. Words for people are left alone (messages,
logs, docstrings), since no test is to repeat them, and so are the defaults of parameters and of dataclasses and the
tables in ``schema.py``, which the migrations repeat.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

_WORD = re.compile(r"[A-Za-z_:%.]+")
"""A string that means something to a program; one with spaces is for people."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CONDITIONS = frozenset({"where", "filter_by", "and_", "or_", "values"})
"""Calls of SQLAlchemy from which one argument after the other is left out."""
_NOT_SWAPPED = frozenset(
    {"isinstance", "cast", "getattr", "map", "execute", "min", "max", "select", "union", "greatest"}
)
"""Calls that fail at once with their arguments swapped, or do the same, which shows nothing. Rows are read by name."""

Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    path: Path
    source: str = field(repr=False)
    """The file as it was imported, whoever edits it meanwhile."""
    line: int
    last_line: int
    function: str
    """The outermost function it is in, with its class; of a module's own assignment, the name that is assigned."""
    is_assignment: bool
    number: int
    """Which of the file's changes; the same for the same text."""
    before: str
    after: str

    @property
    def name(self) -> str:
        """The change without its line, which moves."""
        return f"{self.path.name}:{self.function}: `{self.before}` → `{self.after}`"


def mutants_of(path: Path) -> list[Mutant]:
    """Return every change of a file."""
    source = path.read_text(encoding="utf-8")
    found = []
    for number, (place, node, change) in enumerate(_changes(ast.parse(source))):
        before, after = _shown(node), _shown(change(copy.deepcopy(node)))
        statement = place.statement
        found.append(
            Mutant(
                path=path,
                source=source,
                line=node.lineno,  # type: ignore[attr-defined] - expressions and statements have one
                last_line=min(node.end_lineno or 0, statement.end_lineno or 0),  # type: ignore[attr-defined]
                function=place.function,
                is_assignment=place.is_assignment,
                number=number,
                before=before,
                after=after,
            )
        )
    return found


def mutated_tree(mutant: Mutant) -> ast.Module:
    """Return the file's tree with the one change made."""
    tree = ast.parse(mutant.source)
    for number, (_, node, change) in enumerate(_changes(tree)):
        if number == mutant.number:
            changed = ast.copy_location(change(node), node)
            _Replace(node, changed).visit(tree)
            return ast.fix_missing_locations(tree)
    message = f"{mutant.path} has no change number {mutant.number}"
    raise LookupError(message)


def lines_of(mutant: Mutant) -> list[int]:
    """Return the lines on which a test meets the change: of a module's assignment, those that use what it gives."""
    if not mutant.is_assignment:
        return list(range(mutant.line, mutant.last_line + 1))
    tree = ast.parse(mutant.source)
    given = {mutant.function}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and given & {one.id for one in _names_in(statement.value)}:
            given |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return [name.lineno for name in _names_in(tree) if name.id in given]


def _names_in(tree: ast.AST) -> list[ast.Name]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    if isinstance(node, ast.Pass):
        return "(nothing)"
    return text if len(text) <= 100 else f"{text[:60]} … {text[-36:]}"


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


@dataclass(frozen=True)
class _Place:
    function: str
    is_assignment: bool
    statement: ast.stmt


def _changes(tree: ast.Module) -> Iterator[tuple[_Place, ast.AST, Change]]:
    for place, root in _roots(tree):
        yield from _within(place, root)


def _roots(tree: ast.Module) -> Iterator[tuple[_Place, ast.AST]]:
    """Find what can be changed in a module that has been imported: functions, methods, and its own assignments."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and not _is_type(statement.value):
                yield _Place(target.id, is_assignment=True, statement=statement), statement.value
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield _Place(statement.name, is_assignment=False, statement=statement), statement
        elif isinstance(statement, ast.ClassDef):
            for one in statement.body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_overload(one):
                    yield _Place(f"{statement.name}.{one.name}", is_assignment=False, statement=one), one


def _is_type(value: ast.expr) -> bool:
    """Whether an assignment names a type, which does nothing at run time."""
    match value:
        case ast.Call(ast.Name("TypeVar")) | ast.Subscript(ast.Name("tuple" | "Callable")):
            return True
    return False


def _is_overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in function.decorator_list)


def _within(place: _Place, root: ast.AST) -> Iterator[tuple[_Place, ast.AST, Change]]:
    if isinstance(root, ast.FunctionDef | ast.AsyncFunctionDef):
        returns_bool = isinstance(root.returns, ast.Name) and root.returns.id == "bool"
        for statement in root.body:
            yield from _of_statement(place, statement, returns_bool=returns_bool)
    else:
        yield from _of_expression(place, root)


def _of_statement(
    place: _Place, statement: ast.stmt, *, returns_bool: bool
) -> Iterator[tuple[_Place, ast.AST, Change]]:
    if _is_for_people(statement):
        return
    here = _Place(place.function, is_assignment=False, statement=statement)
    # A method that calls ``super`` has a cell for its class, without which it cannot be put in place.
    has_cell = any(isinstance(one, ast.Name) and one.id == "super" for one in ast.walk(statement))
    if _can_be_left_out(statement):
        yield here, statement, lambda _: ast.Expr(ast.Name("__class__", ast.Load())) if has_cell else ast.Pass()
    if isinstance(statement, ast.Return) and statement.value is not None and not _is_none(statement.value):
        yield here, statement, _return_not if returns_bool else partial(_return_none, has_cell=has_cell)
    if isinstance(statement, ast.If | ast.While) and not _has_operators(statement.test):
        yield here, statement.test, _negated
    for child in _parts_of(statement):
        if isinstance(child, ast.stmt):
            yield from _of_statement(here, child, returns_bool=returns_bool)
        elif _does_something(statement, child):
            yield from _of_expression(here, child)


def _parts_of(statement: ast.stmt) -> Iterator[ast.stmt | ast.expr]:
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        elif isinstance(child, ast.withitem):
            yield child.context_expr
        elif isinstance(child, ast.ExceptHandler):
            yield from child.body


def _does_something(statement: ast.stmt, part: ast.expr) -> bool:
    """Whether a part of a statement is more than words of an error, or an annotation."""
    if isinstance(statement, ast.AnnAssign):
        return part is statement.value
    return not isinstance(statement, ast.Raise | ast.FunctionDef | ast.AsyncFunctionDef)


def _is_for_people(statement: ast.stmt) -> bool:
    """Whether a statement logs, documents, or words a message; or marks a place for a test to kill the process at."""
    match statement:
        case ast.Expr(ast.Constant()):
            return True
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("_log")))):
            return True
        case ast.Expr(ast.Call(ast.Name("crash_point"))):
            # It does something only in the child processes that tests have killed there; a change does not reach them.
            return True
        case ast.Assign([ast.Name("message" | "reason")]):
            return True
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _can_be_left_out(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(ast.Call() | ast.Await()) | ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
            return True
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            return True
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _has_operators(test: ast.expr) -> bool:
    """Whether a condition is changed by its own operators anyhow."""
    return isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant)


def _of_expression(place: _Place, root: ast.AST) -> Iterator[tuple[_Place, ast.AST, Change]]:
    if isinstance(root, ast.JoinedStr):
        return
    for change in _changes_of(root):
        yield place, root, change
    for child in ast.iter_child_nodes(root):
        if isinstance(root, ast.Dict) and child in root.keys:
            continue
        if isinstance(child, ast.expr | ast.keyword | ast.comprehension):
            yield from _of_expression(place, child)


def _changes_of(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in _COMPARISONS:
            yield _compared
        case ast.BoolOp():
            yield _other_junction
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield lambda old: old.operand  # type: ignore[attr-defined]
        case ast.BinOp(op=op) if type(op) in _OPERATORS:
            yield _other_operator
        case ast.IfExp(test=test) if not _has_operators(test):
            yield _other_branch
        case ast.Constant(value=value):
            yield from _of_constant(value)
        case ast.Dict(values=values) if len(values) > 1:
            yield from (_without_entry(number) for number in range(len(values)))
        case ast.Call():
            yield from _of_call(node)


def _of_constant(value: object) -> Iterator[Change]:
    if isinstance(value, bool):
        yield lambda _: ast.Constant(not value)
    elif isinstance(value, int | float):
        yield lambda _: ast.Constant(value + 1)
    elif isinstance(value, str) and _WORD.fullmatch(value):
        yield lambda _: ast.Constant(f"{value}x")


def _of_call(node: ast.Call) -> Iterator[Change]:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    plain = [one for one in node.args if not isinstance(one, ast.Starred)]
    if called in _CONDITIONS:
        for number in range(len(plain)):
            yield _without_argument(number)
        for number, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _without_keyword(number)
    elif len(plain) > 1 and called not in _NOT_SWAPPED and not _is_connection(plain[0]):
        yield _swapped


def _is_connection(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "connection"


def _compared(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Compare)
    node.ops[0] = _COMPARISONS[type(node.ops[0])]()
    return node


def _other_junction(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def _other_operator(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BinOp)
    node.op = _OPERATORS[type(node.op)]()
    return node


def _other_branch(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.IfExp)
    node.body, node.orelse = node.orelse, node.body
    return node


def _negated(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.expr)
    return ast.UnaryOp(ast.Not(), node)


def _return_none(_: ast.AST, *, has_cell: bool) -> ast.AST:
    nothing = ast.Constant(None)
    if not has_cell:
        return ast.Return(nothing)
    return ast.Return(ast.BoolOp(ast.And(), [ast.Name("__class__", ast.Load()), nothing]))


def _return_not(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Return)
    assert node.value is not None
    node.value = ast.UnaryOp(ast.Not(), node.value)
    return node


def _swapped(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Call)
    node.args[0], node.args[1] = node.args[1], node.args[0]
    return node


def _without_argument(number: int) -> Change:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Call)
        del node.args[number]
        return node

    return change


def _without_keyword(number: int) -> Change:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Call)
        del node.keywords[number]
        return node

    return change


def _without_entry(number: int) -> Change:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Dict)
        del node.keys[number], node.values[number]
        return node

    return change
