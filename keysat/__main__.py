"""`python -m keysat` is the `keysat` command."""

from keysat.cli import main

if __name__ == "__main__":
    main()
