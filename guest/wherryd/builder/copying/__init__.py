"""COPY and ADD: files from a build context or an image into a new layer.

`process.py` starts a fresh interpreter (`child.py`) per instruction. It mounts the image's files in a mount
namespace of its own, makes them its root, drops its capabilities and only then looks at the first file
(`tree.py`, `sources.py`). So neither a link in the image nor one in the context leads anywhere else.
"""
