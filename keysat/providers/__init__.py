"""Payment providers behind one Protocol: `base` defines it, `registry` maps kinds to adapters."""
