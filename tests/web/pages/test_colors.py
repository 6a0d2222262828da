"""The seller's color stays legible, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysat.web.pages.colors import DARK, LIGHT, MIN_CONTRAST, accent_css, contrast, legible, on

COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@given(COLORS)
def test_every_color_becomes_legible(color):
    for background in (LIGHT, DARK):
        assert contrast(legible(color, background), background) >= MIN_CONTRAST
        assert contrast(on(legible(color, background)), legible(color, background)) >= MIN_CONTRAST


def test_legible_color_is_kept():
    assert accent_css("#1f4fd8").startswith(":root{--accent:#1f4fd8;--on-accent:#ffffff}")
