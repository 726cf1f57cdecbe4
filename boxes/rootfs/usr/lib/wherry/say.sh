# shellcheck shell=sh
# say TEXT: one line of ours on the serial port, where the host reads it; see wherrywire.serialline.
say() {
  # Without a serial port the line goes to the kernel's log.
  { printf 'wherry: %s\n' "$1" >/dev/ttyS0; } 2>/dev/null || printf 'wherry: %s\n' "$1" >/dev/kmsg
}
