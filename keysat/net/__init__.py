"""HTTP to servers that others run: one deadline and one cap for each call, and a guard for untrusted addresses."""
