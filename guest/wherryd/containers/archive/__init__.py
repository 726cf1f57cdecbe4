"""Files of a container in and out (`docker cp`, `docker export`), by a process that sees nothing else.

service     the engine's side: which view, whose turn, events
process     starts the child, feeds and reads it
order       what the child is told
child       the process: enters the view, gives its power up, does one thing
view        the container's mounts as that process's root
lookup      paths, links and what is at them
pack        files -> archive
extract     archive -> files
"""
