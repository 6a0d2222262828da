"""The check of the pages' HTML finds what it is for."""

import pytest

from tests.markup import faults

PAGE = '<!doctype html><html lang="en"><head><title>A</title></head><body>{}</body></html>'
GOOD = (
    '<main id="a"><h1>A <bdi>b</bdi></h1><ul><li><a href="#a">c</a></li></ul>'
    '<label for="d">D</label><input id="d"></main>'
)


def test_correct_page_has_no_faults():
    assert faults(PAGE.format(GOOD)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<div><p>a", "Missing end tag (div)"),
        ("<div>a</span></div>", "Unexpected end tag (span)"),
        ("<p>a<b>b</p></b>", "<b> is unknown"),
        ("<a href='/'>a<a href='/'>b</a></a>", "Unexpected start tag (a)"),
        ("<form><form></form></form>", "Unexpected start tag (form)"),
        ("<div/>", "Trailing solidus"),
        ("<p id=a id=b>a</p>", "Dropped duplicate attribute"),
        ("<p>a & b &lt c</p>", "didn't end with"),
        ("<p id=a>a</p><p id=a>b</p>", "the id 'a' is there 2 times"),
        ("<p id='a b'>a</p>", "the id 'a b' is no word"),
        ("<p onclick='a()'>a</p>", "<p> has the attribute onclick"),
        ("<p href='/'>a</p>", "<p> has the attribute href"),
        ("<img src='/a'>", "<img> has no text in its place"),
        ("<marquee>a</marquee>", "<marquee> is unknown"),
        ("<span><div>a</div></span>", "<div> is within <span>"),
        ("<h1><a href='/'><div>a</div></a></h1>", "<div> is within <h1>"),
        ("<button><a href='/'>a</a></button>", "<a> is within <button>"),
        ("<ul><p>a</p></ul>", "<p> is a child of <ul>"),
        ("<div><li>a</li></div>", "<li> is a child of <div>"),
        ("<label for=a>a</label>", "<label> refers to 'a', which isn't there"),
        ("<a href='#b'>a</a>", "<a> refers to 'b', which isn't there"),
        ("<h1>a</h1><h1>b</h1>", "<h1> is there 2 times"),
    ],
)
def test_fault_is_found(text, fault):
    assert fault in "\n".join(faults(PAGE.format(text)))


@pytest.mark.parametrize(
    "text", ["<html><head><title>a</title></head><body></body></html>", "<!doctype html><p>a\0</p>"]
)
def test_page_that_is_no_document(text):
    assert faults(text)
