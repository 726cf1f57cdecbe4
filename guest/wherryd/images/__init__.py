"""Images: names, configs and layers; import, load, save, tag, remove."""
