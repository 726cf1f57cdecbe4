"""How results are printed: Go templates as Docker's `--format` has them, tables, sizes and ages.

template.py  Template: parse and render; lexer.py -> parser.py -> nodes.py, evaluate.py, functions.py
values.py    what templates run on: rows, Go-like structs, and how Go prints them
table.py     columns aligned as Docker aligns them
format.py    table, json or template; one writer for ps and images
units.py     1.98MB, 3 seconds ago
"""
