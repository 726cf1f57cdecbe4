"""`python -m wherry`: how the agent starts itself, wherever the command is installed."""

from wherry.cli.main import main

if __name__ == "__main__":
    main()
