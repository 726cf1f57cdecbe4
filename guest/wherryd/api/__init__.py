"""The Docker Engine API, versions 1.24 to 1.51. Turns HTTP requests into calls of the services."""
