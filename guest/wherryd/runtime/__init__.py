"""Containers from OCI bundles: zygote, monitor, container init, and the client the engine uses."""
