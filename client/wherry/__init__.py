"""Wherry's client: the machine, the tunnel, the agent and the command line."""
