"""A group of commands whose modules are imported when a command is called, so that each command loads only its own."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@dataclass(frozen=True)
class Entry:
    """A command of the root: `module:name` of a noun's `typer.Typer` or of a function, and its line in the help.

    `passes_through` leaves all options to the program that the command runs.
    """

    target: str
    help: str
    passes_through: bool = False

    def load(self, name: str) -> Any:
        """Import the module and return the command or group."""
        module, _, attribute = self.target.partition(":")
        with importing():
            found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = name
            return group
        around = typer.Typer()
        around.command(name, context_settings=_PASS_THROUGH if self.passes_through else None)(found)
        return typer.main.get_group(around).commands[name]


@contextmanager
def importing() -> Iterator[None]:
    """Import in a quarter less time, and let Ctrl-C end the process at once.

    Garbage collections are paused, as they find nothing. A KeyboardInterrupt within an import could show a traceback.
    """
    ours = threading.current_thread() is threading.main_thread()
    interrupts = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    collects = gc.isenabled()
    gc.disable()
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        gc.freeze()  # neither later collections nor the one at exit need to go through what was imported
        if collects:
            gc.enable()


class _Commands(MutableMapping[str, Any]):
    """The commands by name. Reading one imports its module."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self.entries[name].load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class _Stub(TyperCommand):
    """A command that the help lists before its module is imported."""

    def __init__(self, name: str, commands: _Commands) -> None:
        super().__init__(name, help=commands.entries[name].help)
        self._command: Callable[[], Any] = lambda: commands[name]

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Go on with the command itself."""
        return self._command().make_context(*args, **options)


def lazy_group(entries: Mapping[str, Entry]) -> type[TyperGroup]:
    """Return the class of a group with these commands, for `typer.Typer(cls=...)`."""
    commands = _Commands(entries)

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = commands

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
            return list(entries)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the base class's signature
            return _Stub(cmd_name, commands) if cmd_name in entries else None

    return LazyGroup
