"""The story: how a paid invoice becomes one license.

1. `scan_pending` claims the invoices that are due (`keysat.invoices.due`) and sends one message for each.
2. `reconcile` asks the provider about one invoice (`reconcile.py`); no transaction is open meanwhile.
3. `decide` compares what we know with what the provider says (`decision.py`, pure) and names an outcome.
4. `apply` writes the outcome by compare-and-set, with an audit line: settled, expired, invalid, in review.
5. `issue` writes the license of a settled invoice, once: `UNIQUE(licenses.invoice_id)` decides (`issue.py`).
6. Should the money go back, `reverse` withdraws the license (`reverse.py`). Where a person has to decide, `resolve.py`
   carries the decision out.

Whatever dies between two steps, the row is due again and the next scan takes it up. `keysat.tasks.tasks` runs the same
chain, top to bottom.
"""
