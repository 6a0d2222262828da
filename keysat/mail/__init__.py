"""Mail to buyers: written in the transaction of what it reports, made at the first attempt, sent until it was taken.

`owe` writes the row, `mail_queue` leases it, `facts` reads what it is about, `render` and `message` make its bytes, and
`send` hands them to the mail server.
"""
