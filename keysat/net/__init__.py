"""HTTP to remote servers: one deadline and one size limit per call, and a guard for untrusted addresses."""
