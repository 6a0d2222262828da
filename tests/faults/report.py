"""What a fault led to, and the table of them all."""

from dataclasses import dataclass, field
from typing import ClassVar

from tests.faults.hasty import LAPSE, TICK
from tests.faults.world import World

# What a fault hit was claimed at most a moment before. Once that claim lapses, two ticks must suffice.
TWO_TICKS = LAPSE + 2 * TICK


@dataclass(frozen=True)
class Check:
    """A figure beside what it has to be."""

    what: str
    figure: str
    held: bool


@dataclass
class Report:
    """One line of the table. `seconds` from the fault's end until all that was paid was licensed."""

    fault: str
    times: int
    paid: int
    licensed: int
    missing: int
    duplicates: int
    seconds: float
    breaches: list[str]
    checks: list[Check] = field(default_factory=list)
    took: float = 0.0
    # The short cut, which runs on machines that are busy with other things, is given longer.
    slack: ClassVar[float] = 1.0

    @property
    def held(self) -> bool:
        """Whether safety, liveness and every further check passed."""
        return not self.breaches and self.missing == 0 and all(check.held for check in self.checks)

    def within(self, what: str, seconds: float, bar: float, where: str = "") -> None:
        """Add a time that mustn't be longer than its bar."""
        bar *= self.slack
        self.checks.append(Check(what, f"{_number(seconds)} s{where} (bar <= {bar:g} s)", seconds <= bar))

    def at_most(self, what: str, figure: float, bar: float, unit: str = "") -> None:
        """Add a figure that mustn't be greater than its bar."""
        self.checks.append(Check(what, f"{_number(figure)}{unit} (bar <= {bar:g})", figure <= bar))

    def at_least(self, what: str, figure: float, bar: float, unit: str = "") -> None:
        """Add a figure that mustn't be less than its bar."""
        self.checks.append(Check(what, f"{_number(figure)}{unit} (bar >= {bar:g})", figure >= bar))


def _number(figure: float) -> str:
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:,.3g}"


def judged(fault: str, times: int, world: World, seconds: float, within: float | None = TWO_TICKS) -> Report:
    """The line of a finished fault. Liveness means licensed within `within` seconds of its end."""
    verdict = world.oracle.judge()
    report = Report(
        fault,
        times,
        paid=len(verdict.paid),
        licensed=len(verdict.licensed),
        missing=len(verdict.missing),
        duplicates=verdict.duplicates,
        seconds=seconds,
        breaches=verdict.breaches,
    )
    report.at_least("something was paid", len(verdict.paid), 1)
    if within is not None:
        report.within("all licensed after its end within", seconds, within)
    return report


def table(reports: list[Report]) -> str:
    """All lines, in columns. Failures are marked and explained below."""
    head = ("fault", "times", "paid", "licensed", "missing", "duplicates", "recovered in")
    rows = [
        (
            f"{'' if report.held else 'FAIL '}{report.fault}",
            f"{report.times:,}",
            f"{report.paid:,}",
            f"{report.licensed:,}",
            f"{report.missing:,}",
            f"{report.duplicates:,}",
            f"{report.seconds:.1f} s",
        )
        for report in reports
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}" for place, (cell, width) in columns)
        for columns in (list(enumerate(zip(row, widths, strict=True))) for row in (head, *rows))
    ]
    for report in reports:
        lines += ["", f"{report.fault} ({report.took:.0f} s)"]
        lines += [f"  FAIL  {breach}" for breach in report.breaches]
        lines += [f"  {'ok  ' if check.held else 'FAIL'}  {check.what}: {check.figure}" for check in report.checks]
    return "\n".join(lines)
