"""What is wrong with a page's HTML: parse errors, ids, references, attributes, and elements where they may not be."""

from collections import Counter

import html5lib
from html5lib.constants import E as MESSAGES


def words(text):
    return frozenset(text.split())


ANYWHERE = words(
    "autocapitalize autofocus class dir hidden id lang role spellcheck style tabindex title"
    " aria-current aria-describedby aria-hidden aria-invalid aria-label aria-labelledby aria-live"
)
# The elements that pages and mails have, and the attributes that only some of them may have. A new one is added here.
ELEMENTS = words(
    "html head title body noscript header footer main nav section details summary div p h1 h2 h3 ul ol li dl dt dd"
    " fieldset legend hr table tbody tr td th span bdi s code strong em br small time"
    " a button form img input label link meta script textarea"
)
ATTRIBUTES = {
    "a": words("href rel hreflang download"),
    "button": words("name value type disabled form formaction"),
    "form": words("action method novalidate"),
    "img": words("src alt height width"),
    "input": words("name type value checked autocomplete required maxlength disabled"),
    "label": words("for"),
    "link": words("rel href type"),
    "meta": words("charset name content http-equiv"),
    "script": words("src defer"),
    "textarea": words("name rows required autocomplete"),
}
REFERENCES = ("for", "aria-labelledby", "aria-describedby")
BLOCKS = words("div p h1 h2 h3 ul ol dl fieldset form table hr section header footer main nav details")
# What may only have phrasing content. A link may have what its parent may.
PHRASING = words("p h1 h2 h3 span bdi s code strong em small label button dt legend summary title")
CHILDREN = {
    "ul": words("li"),
    "ol": words("li"),
    "dl": words("div dt dd"),
    "tr": words("td th"),
    "tbody": words("tr"),
}
PARENTS = {
    "li": words("ul ol"),
    "dt": words("dl div"),
    "dd": words("dl div"),
    "legend": words("fieldset"),
    "summary": words("details"),
}
# What may not be around a control.
AROUND = {
    "a": words("a button"),
    "button": words("a button label"),
    "input": words("a button"),
    "label": words("a button label"),
}


def faults(text):
    """The faults of a whole document, each as a sentence."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    root = parser.parse(text)
    found = [f"line {place[0]}: {MESSAGES[code] % facts}" for place, code, facts in parser.errors]
    elements = [(element, []) for element in [root]]
    for element, above in elements:  # grows while it is read
        elements += [(child, [*above, element.tag]) for child in element if isinstance(child.tag, str)]
        found += _of_attributes(element) + _of_place(element.tag, above)
    return found + _of_ids([element for element, _ in elements])


def _of_attributes(element):
    if element.tag not in ELEMENTS:
        return [f"<{element.tag}> is unknown"]
    allowed = ATTRIBUTES.get(element.tag, frozenset()) | ANYWHERE
    wrong = [name for name in element.attrib if name not in allowed and not name.startswith("data-")]
    found = [f"<{element.tag}> has the attribute {name}" for name in wrong]
    if element.tag == "img" and "alt" not in element.attrib:
        found.append("<img> has no text in its place")
    return found


def _of_place(tag, above):
    parent = above[-1] if above else None
    found = [f"<{tag}> is within <{outer}>" for outer in above if tag in BLOCKS and outer in PHRASING]
    found += [f"<{tag}> is within <{outer}>" for outer in above if outer in AROUND.get(tag, ())]
    if tag not in CHILDREN.get(parent, {tag}) or parent not in PARENTS.get(tag, {parent}):
        found.append(f"<{tag}> is a child of <{parent}>")
    return found


def _of_ids(elements):
    ids = Counter(element.attrib["id"] for element in elements if "id" in element.attrib)
    found = [f"the id {name!r} is there {count} times" for name, count in ids.items() if count > 1]
    found += [f"the id {name!r} is no word" for name in ids if len(name.split()) != 1 or name != name.strip()]
    for element in elements:
        wanted = [name for attribute in REFERENCES for name in element.attrib.get(attribute, "").split()]
        link = element.attrib.get("href", "")
        wanted += [link[1:]] if link.startswith("#") else []
        found += [f"<{element.tag}> refers to {name!r}, which isn't there" for name in wanted if name not in ids]
    for tag in ("h1", "main", "title"):
        if (count := sum(element.tag == tag for element in elements)) > 1:
            found.append(f"<{tag}> is there {count} times")
    return found
