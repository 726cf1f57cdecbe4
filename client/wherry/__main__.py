"""`python -m wherry`."""

from wherry.cli.entry import run

if __name__ == "__main__":
    run()
