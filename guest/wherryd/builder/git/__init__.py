"""Sources in git repositories: one revision's tree as a tar stream, made by a process of its own."""
