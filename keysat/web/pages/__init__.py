"""Pages for buyers: server-rendered HTML that needs no script, no cookie and nothing from other hosts.

`home` shows what is sold, `buy` sells it, and `purchase` shows a purchase until its license is there. `recover` is the
way back to a lost key, and `me` shows a holder's licenses. `render` sets the headers of every page, and `language` has
the texts.
"""
