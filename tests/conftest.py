"""For all tests: programs under test get the signals a user's shell would give them.

A shell ignores SIGINT and SIGQUIT for what it starts in the background, and ignored signals are inherited:
under such a runner no test could press ctrl-c.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGQUIT"):
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
