"""Completion scripts for bash, zsh, fish (click's) and PowerShell (ours)."""
