"""`cp`: what goes where (places), local files -> archive (pack), archive -> a local folder (unpack)."""
