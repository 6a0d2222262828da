"""The house rules, checked on the source itself. Each message names the remedy."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

from keysat.providers.registry import kinds
from keysat.tasks import sending
from keysat.tasks.tasks import app

ROOT = Path(__file__).parent.parent
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "keysat").rglob("*.py"))}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
NODES = {name: list(ast.walk(tree)) for name, tree in TREES.items()}

MAX_LINES_OF_A_FILE, MAX_LINES_OF_A_FUNCTION, MAX_LINES_OF_A_TASK = 250, 45, 15

ENTRY_POINTS = ("keysat/tasks/", "keysat/cli/", "keysat/embedded/", "keysat/web/")
PROGRAMS = ("keysat/__main__.py", "keysat/worker.py")
BEGIN_THEMSELVES = ("keysat/core/db.py", "keysat/migrations/__init__.py")
WAYS_IN = {"keysat.core.db", "keysat.core.db.transaction", "keysat.core.db.snapshot", "keysat.core.db.DATABASE"}
SPEAK_HTTP = ("keysat/net/client.py", "keysat/net/untrusted.py", "keysat/net/deadlines.py", "keysat/sandbox/")
# The public API has fields of BTCPay's name.
NAMED_ELSEWHERE = {"btcpay", "fake"}
HTTP_CLIENTS = {"requests", "urllib3", "httpx", "aiohttp", "http", "urllib"}
HARMLESS = {"http.HTTPStatus", "urllib.parse"}
NOT_ZONED = {"datetime.now", "datetime.utcnow", "datetime.today", "datetime.fromtimestamp", "datetime.utcfromtimestamp"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def elsewhere(*places):
    """The names and syntax trees of all source files that are not in these places."""
    return ((name, tree) for name, tree in TREES.items() if not name.startswith(tuple(places)))


def nodes(kind, *places):
    """Every node of a kind, as (where it is, node), in all source files but those in these places."""
    return (
        (f"{name}:{node.lineno}", node)
        for name, _ in elsewhere(*places)
        for node in NODES[name]
        if isinstance(node, kind)
    )


def calls(attributes, *places):
    """Where a method or an imported function of one of these names is called."""
    return [
        f"{where} {ast.unparse(node.func)}"
        for where, node in nodes(ast.Call, *places)
        if isinstance(node.func, ast.Attribute) and node.func.attr in attributes
    ]


def imported(*places) -> Iterator[tuple[str, str]]:
    """Every import, as (where it is, dotted name)."""
    for where, node in nodes(ast.Import | ast.ImportFrom, *places):
        module = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        yield from ((where, module + alias.name) for alias in node.names)


def body_lines(function):
    """The lines of a function's body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def without_docstrings(tree):
    """The same tree, without docstrings and comments."""
    bare = ast.parse(ast.unparse(tree))
    for node in ast.walk(bare):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return bare


@cache
def code_of(name):
    """A file's code in small letters, without docstrings and comments."""
    return ast.unparse(without_docstrings(TREES[name])).lower()


def task_functions():
    """The functions under `@app.task(...)`, each with that decorator."""
    return [
        (function, decorator)
        for name in ("keysat/tasks/tasks.py", Path(sending.__file__).relative_to(ROOT).as_posix())
        for function in TREES[name].body
        if isinstance(function, Function)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "app.task"
    ]


def test_checks_see_the_source():
    assert len(TREES) > 50
    assert len(task_functions()) >= 3
    assert calls({"begin"})
    assert any(name == "requests" for _, name in imported())


def test_imports_point_down(capsys):
    configure()
    kept = lint_imports(str(ROOT / "pyproject.toml"), cache_dir=None, is_debug_mode=True, no_logo=True)
    assert kept, (
        "a lower level imports a higher one. Move the code down, or hand it in as an argument, as Database of "
        f"keysat/core/db.py is.\n{capsys.readouterr().out}"
    )


def test_only_the_database_module_commits():
    found = calls({"commit", "rollback"}, "keysat/core/db.py")
    assert not found, (
        f"{found}: nobody commits here. Take a Session as argument; the entry point's `with transaction()` commits at "
        "the end of its block, or rolls back when it raises."
    )


def test_only_entry_points_open_transactions():
    found = [where for where, name in imported(*ENTRY_POINTS) if name in WAYS_IN]
    assert not found, (
        f"{found}: transactions are for entry points. Below them take a Session, or a `database: Database` "
        "where HTTP comes between two transactions, as keysat/settlement/reconcile.py does."
    )


def test_only_entry_points_begin_transactions():
    found = calls({"begin", "begin_nested", "begin_twophase"}, *BEGIN_THEMSELVES)
    assert not found, f"{found}: use `with transaction()` in an entry point, or take a Session as argument."


def test_only_db_makes_engines_and_sessions():
    makers = {"sqlalchemy.create_engine", "sqlalchemy.orm.sessionmaker", "sqlalchemy.orm.scoped_session"}
    found = [where for where, name in imported("keysat/core/db.py") if name in makers]
    found += [
        where
        for where, node in nodes(ast.Call, "keysat/core/db.py")
        if isinstance(node.func, ast.Name) and node.func.id == "Session"
    ]
    assert not found, (
        f"{found}: use `transaction`, `reading` or `snapshot` of keysat.core.db; they set the timeouts and translate "
        "the errors."
    )


def test_status_is_built_in_one_place():
    facts = {"read_backlog", "broken", "silent_accounts", "count_dead", "count_failed", "count_held", "INVARIANTS"}
    found = [where for where, name in imported("keysat/operations/status.py") if name.rpartition(".")[2] in facts]
    assert not found, (
        f"{found}: keysat.operations.status.read_status reads these. Add what you need to `Status`, so that command "
        "line, API, metrics and doctor show it alike."
    )


def test_handlers_write_no_sql():
    """The command line and the admin API parse, call, commit and present, so that a console is only templates."""
    probes = ("keysat/cli/doctor.py", "keysat/cli/doctor_host.py")
    found = [
        f"{where} {name}"
        for where, name in imported(*probes)
        if where.startswith(("keysat/cli/", "keysat/web/admin/")) and name.startswith("sqlalchemy")
    ]
    assert not found, (
        f"{found}: put the query into a function of the feature or of keysat/operations, so that command line, API and "
        "pages share it."
    )


def test_only_the_http_module_speaks_http():
    found = [
        f"{where} {name}"
        for where, name in imported(*SPEAK_HTTP)
        if name.split(".")[0] in HTTP_CLIENTS and not name.startswith(tuple(HARMLESS))
    ]
    assert not found, (
        f"{found}: use keysat.net.client.HttpClient, which has the total deadline, the byte cap and the errors."
    )


@pytest.mark.parametrize("kind", sorted(set(kinds()) - NAMED_ELSEWHERE))
def test_only_its_adapter_names_a_provider(kind):
    known = (f"keysat/providers/{kind}", "keysat/providers/registry.py", "keysat/sandbox/")
    found = [name for name, _ in elsewhere(*known) if kind in code_of(name)]
    assert not found, (
        f"{found}: what is peculiar to one provider belongs in its adapter; what differs by provider, say in a class "
        "attribute of keysat.providers.base.Provider, and ask for that."
    )


def test_files_fit_in_a_readers_head():
    long = {name: lines for name, text in SOURCES.items() if (lines := text.count("\n")) > MAX_LINES_OF_A_FILE}
    assert not long, f"{long}: more than {MAX_LINES_OF_A_FILE} lines. Split the file along its nouns."


def test_functions_fit_on_a_screen():
    long = {
        f"{where} {function.name}": lines
        for where, function in nodes(Function, "keysat/migrations/versions/")
        if (lines := body_lines(function)) > MAX_LINES_OF_A_FUNCTION
    }
    assert not long, f"{long}: more than {MAX_LINES_OF_A_FUNCTION} lines. Name a part of each and move it out."


def test_public_names_below_the_entry_points_are_unique():
    """Adapters of different kinds may have the same names, since nobody else imports them."""
    found = {}
    for name, tree in elsewhere(*ENTRY_POINTS, "keysat/sandbox/", "keysat/migrations/", *PROGRAMS):
        adapter = name.split("/")[2] if name.startswith("keysat/providers/") and name.count("/") > 2 else None
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append((adapter, f"{name}:{node.lineno}"))
    twice = {
        name: [where for _, where in places]
        for name, places in found.items()
        if len(places) > 1 and (len({adapter for adapter, _ in places}) < len(places) or (None in dict(places)))
    }
    assert not twice, f"two things have one name. Name the worse one by what it does, as resend_delivery: {twice}"


def test_every_task_has_an_explicit_name():
    for function, decorator in task_functions():
        names = [keyword.value for keyword in decorator.keywords if keyword.arg == "name"]
        assert names, f"give {function.name} an explicit name='keysat....': messages in the broker outlive a renaming."
        assert ast.literal_eval(names[0]).startswith("keysat."), f"the name of {function.name} must start with keysat."


def test_tasks_only_load_call_and_send():
    lines = {function.name: body_lines(function) for function, _ in task_functions()}
    long = {name: count for name, count in lines.items() if count > MAX_LINES_OF_A_TASK}
    assert not long, (
        f"{long}: more than {MAX_LINES_OF_A_TASK} lines. A task reads its arguments, calls one function of "
        "settlement/ or queue/, and sends what follows; move the rest there."
    )


def test_every_task_has_a_queue_that_workers_read():
    ours = {name for name in app.tasks if name.startswith("keysat.")}
    assert len(ours) == len(task_functions())
    missing = sorted(ours - set(app.conf.task_routes))
    assert not missing, f"{missing}: give each its line in task_routes of celeryconfig.py."
    unread = {route["queue"] for route in app.conf.task_routes.values()} - {
        queue.name for queue in app.conf.task_queues
    }
    assert not unread, f"{sorted(unread)}: no worker reads these; add them to task_queues of celeryconfig.py."


def test_times_have_a_zone():
    found = [
        f"{where} {ast.unparse(node)}"
        for where, node in nodes(ast.Call)
        if ast.unparse(node.func) in NOT_ZONED
        and len(node.args) + len(node.keywords) <= (ast.unparse(node.func) == "datetime.fromtimestamp")
    ]
    assert not found, (
        f"{found}: a time without a zone. Use datetime.now(UTC), or func.now() for the database's clock, which decides."
    )


def test_modules_say_what_they_are_for():
    silent = [name for name, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert not silent, f"{silent}: no docstring. Say in one sentence what the module is for."
