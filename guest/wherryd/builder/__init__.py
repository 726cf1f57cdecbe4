"""Images from Dockerfiles. `dockerfile/` reads the language and touches nothing; the rest builds."""
