"""Wherry's engine: containers, images and networks behind Docker's Engine API."""
