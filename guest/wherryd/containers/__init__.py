"""What the engine knows about containers: records, their life, their logs, their events."""
