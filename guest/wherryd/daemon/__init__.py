"""`wherryd` as a process: options, wiring, sockets, signals."""
