"""Turn a paid invoice into exactly one license.

1. `scan_pending` claims the invoices to check (`keysat/invoices`) and sends one message for each.
2. `reconcile` queries the provider about one invoice (`reconcile.py`). No transaction is open during the call. Without
   a usable response the invoice stays as it is (`failed_check.py`).
3. `decide` compares our row with the provider status and returns an outcome (`decision.py`, pure).
4. `apply` writes the outcome by compare-and-set, with an audit entry: settled, expired, invalid, in review.
5. `issue` writes the license of a settled purchase, once, thanks to `UNIQUE(licenses.invoice_id)` (`issue.py`). A
   renewal extends its license in place of that (`renew.py`). The rest of a short payment is credited to the invoice
   that it completes (`rest.py`), which is due again.
6. If the payment is reversed, `reverse` withdraws the license (`reverse.py`). `resolve.py` carries out the decisions
   that a person makes.

If a process dies between two steps, a later scan claims the row again. `keysat.tasks.tasks` runs the same chain, top to
bottom.
"""
