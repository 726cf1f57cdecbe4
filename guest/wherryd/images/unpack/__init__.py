"""Layers from archives into directories.

`process.py` starts a fresh interpreter (`child.py`) per layer. The child reads the archive from a pipe,
decompresses it (`reader.py`), moves its root into the layer's directory, drops its capabilities and only
then looks at the first entry (`extract.py`, `directories.py`). What it read besides the files' contents it
writes down (`recipe.py`), so that the exact archive can be made again and need not be kept.
"""
