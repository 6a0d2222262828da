"""Tips: a share of what a buyer paid, sent to a Lightning Address once the license is issued.

A tip is a row written in the license's transaction (`owe`). Paying it requests a BOLT11 invoice from the recipient
(`lnurl`), checks it (`bolt11`), commits it and its hash, and only then pays it (`pay`). A payment with an unknown
outcome is looked up by its hash, and never replaced by another invoice. A failed tip doesn't affect the sale.
"""
