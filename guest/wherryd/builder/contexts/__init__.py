"""Contexts that clients tell by their contents: what is needed, what is there already, and their files."""
