"""The box: recipe, files and builder. Run `boxes/build.py`; boxes/README.md has the picture."""
