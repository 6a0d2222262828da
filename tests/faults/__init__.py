"""Every fault we can make, against real processes: nothing paid is lost, nothing is issued twice.

`make faults` runs all of them and prints a table. `make test` runs a short version of the same code. The judge is
`oracle`, which reads the database and the sandbox's ledger and shares no code with Keysat.
"""
