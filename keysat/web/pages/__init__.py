"""Pages for buyers: server-rendered HTML that needs no script, no cookie and nothing from other hosts.

`home` shows what is sold, `buy` sells it, and `purchase` shows a purchase until its license is there. `render` sets the
headers of every page, and `language` has the texts.
"""
