"""The verbs. Each module has `run(verb, words) -> exit status`, prints to stdout, and raises VBoxError."""
