"""`--check`: what in a Dockerfile works, and is better written otherwise. Names and words are BuildKit's."""
