"""The command line. One file per verb; nothing is imported before its verb is typed."""
