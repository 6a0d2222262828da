"""Tips: a share of what a buyer paid, sent to a Lightning Address once the license is issued.

A tip is a row in the license's transaction (`owe`). Paying it asks the recipient for a BOLT11 (`lnurl`), checks it
(`bolt11`), commits it and its hash, and only then has it paid (`pay`). A payment whose outcome isn't known is looked
up by its hash, and never made again. Whatever happens to a tip, the sale is done.
"""
