"""The seller's color, made legible: WCAG's contrast of 4.5 to 1 in light and in dark mode. Pure."""

from __future__ import annotations

MIN_CONTRAST = 4.5
# The lightest and the darkest background that text in the color is on.
LIGHT, DARK = "#eef0f4", "#22262e"
WHITE, BLACK = "#ffffff", "#000000"
_STEPS = 100

Rgb = tuple[float, float, float]


def contrast(first: str, second: str) -> float:
    """Return WCAG's contrast of two colors such as #0f6fde, from 1 to 21."""
    lighter, darker = sorted((_luminance(_rgb(first)), _luminance(_rgb(second))), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def legible(color: str, background: str) -> str:
    """Return the color, or the nearest darker or lighter one that is legible on a background."""
    toward = BLACK if contrast(background, BLACK) > contrast(background, WHITE) else WHITE
    mixed = (_mix(color, toward, step / _STEPS) for step in range(_STEPS + 1))
    return next(candidate for candidate in mixed if contrast(candidate, background) >= MIN_CONTRAST)


def on(color: str) -> str:
    """Return black or white, whichever is more legible on the color. One of them always is."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, color))


def accent_css(color: str) -> str:
    """Return the CSS custom properties of the accent color for light and dark mode."""
    light, dark = legible(color, LIGHT), legible(color, DARK)
    light_rules = f"--accent:{light};--on-accent:{on(light)}"
    dark_rules = f"--accent:{dark};--on-accent:{on(dark)}"
    return f":root{{{light_rules}}}@media(prefers-color-scheme:dark){{:root{{{dark_rules}}}}}\n"


def _mix(color: str, toward: str, share: float) -> str:
    parts = zip(_rgb(color), _rgb(toward), strict=True)
    return "#" + "".join(f"{round(255 * (part + (end - part) * share)):02x}" for part, end in parts)


def _rgb(color: str) -> Rgb:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _luminance(rgb: Rgb) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
