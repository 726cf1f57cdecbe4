"""What a container is, as frozen data; no system calls here."""
