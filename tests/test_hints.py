"""Below the entry points errors and alarms carry facts and a hint; the command line turns each into a command."""

import ast
import inspect
import pkgutil
import re
import shlex
import string
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints
from uuid import UUID

import pytest
import typer

import keysat
import keysat.worker
from keysat.accounts.connect import Connection
from keysat.cli import app
from keysat.cli.hints import COMMANDS, explained
from keysat.core.errors import Conflict, KeysatError, NotFound, SchemaOutdated, SettingsError
from keysat.core.hints import Advice, Hint, hint_fields
from keysat.core.settings import Settings, variable
from keysat.models import ProviderAccount
from keysat.operations.invariants import INVARIANTS
from keysat.tasks import app as tasks
from keysat.tasks import start

ROOT = Path(__file__).parents[1]
BELOW = {
    *("core", "net", "models", "queue", "providers", "accounts", "catalog", "invoices", "codes", "licenses", "tips"),
    *("mail", "webhooks", "settlement", "sales", "operations", "migrations"),
}
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text())
    for room in BELOW
    for path in sorted((ROOT / "keysat" / room).rglob("*.py"))
}
WORDS = re.compile(r"\bkeysat (?:[a-z{]|--)|(?<![\w-])--[a-z]|\bKEYSAT_|\bDATABASE_URL\b|\bBROKER_URL\b")
# It reads the variables, so it makes up their names.
READS_THE_ENVIRONMENT = {"keysat/core/mail_settings.py", "keysat/core/settings.py"}
# An error about a setting's own value names the setting; it takes the name from core/settings.py.
REFUSES_A_SETTING = {"keysat/core/secrets.py", *READS_THE_ENVIRONMENT}
ID = "0198c0de-0000-7000-8000-000000000000"
SAMPLES = {"invoice_id": ID, "license_id": ID, "tip_id": ID, "account": "main", "product": "editor", "code": "SPRING"}
PLACEHOLDERS = {"INVOICE": ID, "LICENSE": ID, "MAIL": ID, "TIP": ID}
COMMAND_LINE = typer.main.get_command(app)


def docstrings(tree):
    """The nodes of texts that stand alone as a statement."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def literals(tree):
    """Each text of a tree with its line; the values in an f-string are `{}`. No docstrings."""
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def fields(hint):
    """The facts that a hint's command is made of."""
    return {name for _, name, _, _ in string.Formatter().parse(COMMANDS[hint]) if name}


def uses():
    """Where an error or an advice is made with a hint, as (where, hint, the names of its facts)."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            given = " ".join(ast.unparse(value) for value in values if isinstance(value, ast.Attribute | ast.IfExp))
            hints = re.findall(r"\bHint\.([A-Z_]+)", given)
            if not hints or ast.unparse(node.func) in {"_Invariant", "dict.fromkeys"}:
                continue
            facts = {keyword.arg for keyword in node.keywords} - {"hint", "retry_after"}
            for value in values:
                facts |= {ast.literal_eval(key) for key in value.keys} if isinstance(value, ast.Dict) else set()
            yield from ((f"{name}:{node.lineno}", Hint[hint], facts) for hint in hints)


def error_classes():
    """Every class of error below the entry points."""
    for module in pkgutil.walk_packages(keysat.__path__, "keysat."):
        if module.name.split(".")[1] in BELOW and "versions" not in module.name and not module.name.endswith(".env"):
            import_module(module.name)
    found, waiting = [], [KeysatError]
    while waiting:
        cls = waiting.pop()
        found.append(cls)
        waiting += cls.__subclasses__()
    return sorted({cls for cls in found if cls.__module__.split(".")[1] in BELOW}, key=lambda cls: cls.__qualname__)


def sample(kind):
    """A value of a parameter's type."""
    known = {str: "something", int: 5, float: 5.0, bool: True, UUID: UUID(ID), Path: Path("/a/b"), object: "something"}
    if kind is Connection:
        account = ProviderAccount(name="main", kind="btcpay", base_url="https://btcpay.example.com", store_id="s")
        return Connection(account, "https://a.example/v1", url_is_secret=False, began=datetime(2026, 1, 1, tzinfo=UTC))
    return next(
        (value for known_type, value in known.items() if kind is known_type or str(known_type.__name__) in str(kind)),
        None,
    )


def made(cls):
    """An error of that class, about nothing in particular."""
    kinds = get_type_hints(cls.__init__)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    named = {
        parameter.name: sample(kinds[parameter.name])
        for parameter in needed
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return cls(*(sample(kinds[parameter.name]) for parameter in needed if parameter.name not in named), **named)


def shown_commands(hint):
    """The commands of a hint, as the words that a shell would pass on."""
    text = COMMANDS[hint].format_map(SAMPLES)
    for command in re.findall(r"`keysat ([^`]+)`", text):
        yield [PLACEHOLDERS.get(word, word) for word in shlex.split(command)]


def test_no_text_below_the_entry_points_names_a_command_an_option_or_a_variable():
    found = [
        f"{name}:{line} {text!r}"
        for name, tree in TREES.items()
        if name not in READS_THE_ENVIRONMENT
        for line, text in literals(tree)
        if WORDS.search(text)
    ]
    assert len(TREES) > 100
    assert not found, (
        f"{found}: HTTP clients and logs read this sentence, too. Say what is wrong, give the error or the Advice a "
        "member of keysat.core.hints.Hint with its facts, and put the command to type into keysat/cli/hints.py."
    )


def test_only_errors_about_a_setting_take_the_name_of_its_variable():
    takers = {
        name
        for name, tree in TREES.items()
        if any(isinstance(node, ast.Name) and node.id == variable.__name__ for node in ast.walk(tree))
        or any(isinstance(node, ast.alias) and node.name == variable.__name__ for node in ast.walk(tree))
    }
    assert takers <= REFUSES_A_SETTING, f"{takers - REFUSES_A_SETTING}: use a Hint; it isn't the setting that is wrong."


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_error_names_no_command_and_its_hint_is_explained(cls):
    error = made(cls)
    if not issubclass(cls, SettingsError):
        assert not WORDS.search(str(error)), f"{cls.__name__}: give it a Hint; keysat/cli/hints.py names the command."
    assert error.hint is None or error.hint in COMMANDS
    assert explained(error).startswith(str(error).removesuffix("."))


def test_errors_of_all_rooms_are_seen():
    assert {cls.__module__.split(".")[1] for cls in error_classes()} >= {"core", "accounts", "licenses", "settlement"}
    assert len(error_classes()) > 30


def test_each_hint_has_its_words_on_the_command_line():
    missing = set(Hint) - COMMANDS.keys()
    assert not missing, f"{missing}: add what an operator types to COMMANDS in keysat/cli/hints.py."


def test_each_hint_is_given_by_something():
    words = "".join(path.read_text() for path in (ROOT / "keysat").rglob("*.py") if path.name != "hints.py")
    given = set(re.findall(r"\bHint\.([A-Z_]+)", words))
    unused = {hint.name for hint in Hint} - given
    assert not unused, f"{unused}: nothing gives these hints; remove them."


@pytest.mark.parametrize("hint", Hint)
def test_command_of_a_hint_is_one_that_runs(hint):
    for words in shown_commands(hint):
        command, rest, context = COMMAND_LINE, list(words), None
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, f"keysat {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        context = command.make_context("keysat", rest)  # raises a usage error for what the command doesn't take
        context.close()


def test_variables_of_hints_are_settings():
    settings = {variable(str(field.validation_alias or name)) for name, field in Settings.model_fields.items()}
    named = set(re.findall(r"KEYSAT_\w+|DATABASE_URL|BROKER_URL", " ".join(COMMANDS.values())))
    assert named <= settings


def test_hints_are_given_with_the_facts_of_their_command():
    wrong = [
        f"{where} {hint.name} takes {sorted(fields(hint))}, has {sorted(facts)}"
        for where, hint, facts in uses()
        if facts != fields(hint) and not (hint is Hint.RENEW_ACCOUNT and not facts)
    ]
    wrong += [
        invariant.name
        for invariant in INVARIANTS
        if fields(invariant.hint) != ({invariant.subject} if invariant.subject else set())
    ]
    assert not wrong, f"{wrong}: give the hint these facts, or change its words in keysat/cli/hints.py."
    assert len(list(uses())) > 40


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (NotFound("product", "editor"), "no product editor."),
        (
            NotFound("product", "editor", Hint.LIST_PRODUCTS),
            "no product editor; `keysat product list` shows them.",
        ),
        (Advice("it waits", Hint.RUN_DOCTOR), "it waits; `keysat doctor` checks"),
        (Advice("does it run?", Hint.RUN_DOCTOR), "does it run? `keysat doctor` checks."),
        (Conflict("it stays.", Hint.PAUSE_ACCOUNT, account="main"), "it stays; `keysat provider pause main` rests it."),
        (Conflict("it stays.", Hint.PAUSE_ACCOUNT), "it stays; `keysat provider pause ACCOUNT` rests it."),
        (Conflict("it stays.", Hint.PAUSE_ACCOUNT, account="{x}"), "it stays; `keysat provider pause {x}` rests it."),
    ],
)
def test_sentence_is_followed_by_what_to_type(message, shown):
    assert explained(message) == shown


def test_log_line_has_the_hint_and_its_facts():
    error = Conflict("it stays.", Hint.RECONCILE_INVOICE, invoice_id=UUID(ID))
    assert hint_fields(error) == {"hint": "reconcile_invoice", "invoice_id": ID}
    assert hint_fields(Conflict("it stays.", account="main")) == {}


def test_worker_that_refuses_to_start_names_the_command(monkeypatch):
    def outdated():
        raise SchemaOutdated("0001", "0002")

    monkeypatch.setattr(start, "require_head", outdated)
    with pytest.raises(SystemExit, match=r"^keysat: .*needs 0002; run `keysat db upgrade`\.$"):
        tasks._refuse_to_start_unsafely(sender=SimpleNamespace(hostname="worker@here"))
