"""System calls that Python has no function for, one function each, named as in the man pages."""
