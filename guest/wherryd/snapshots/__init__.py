"""File systems of layers and containers. Drivers hand out `Mount` values and never mount."""
