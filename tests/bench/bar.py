"""A measured ratio and the bar it has to clear."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """`at_most` or `at_least` is the bar, and `figures` are the values behind the ratio."""

    what: str
    ratio: float
    figures: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def cleared(self) -> bool:
        """Whether the ratio is on the right side of its bar."""
        low_enough = self.at_most is None or self.ratio <= self.at_most
        return low_enough and (self.at_least is None or self.ratio >= self.at_least)

    def __str__(self) -> str:
        bounds = [
            f">= {self.at_least}" if self.at_least is not None else "",
            f"<= {self.at_most}" if self.at_most else "",
        ]
        bar = " and ".join(filter(None, bounds))
        return f"{'ok  ' if self.cleared else 'FAIL'}  {self.what}: {self.ratio:.2f} (bar {bar}; {self.figures})"
