"""A VBoxManage-compatible command that runs its machines on QEMU."""
