"""What docs/compatibility.md is made from: see scripts/compatibility.py."""
