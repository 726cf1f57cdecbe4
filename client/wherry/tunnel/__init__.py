"""SSH to the guest: one connection per machine, many channels. Only this package knows paramiko's API."""
