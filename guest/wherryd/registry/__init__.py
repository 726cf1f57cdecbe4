"""Registries: the OCI distribution protocol as a client speaks it. Knows nothing of how images are stored."""
