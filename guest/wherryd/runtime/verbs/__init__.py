"""The verbs of wherry-runc, a module for those that belong together. Each has a table VERBS."""
