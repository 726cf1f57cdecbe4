"""The Dockerfile language, as BuildKit and the classic builder read it. Pure: text in, values out.

directives.py  "# escape=`" and its kin        shell.py         quotes and $VARIABLES in words
lines.py       logical lines, heredocs         globs.py         ${NAME#pattern} without backtracking
parser.py      lines -> Node (keyword, words)  instructions.py  what an instruction is
flags.py       --name=value                    typed.py         Node -> instruction; mounts.py RUN --mount
stages.py      instructions -> stages
"""
