"""Payment providers behind one Protocol: `base` says what they can do, `registry` knows them by kind."""
