"""Completion in PowerShell, which click does not have.

The script registers a block that hands the line to `wherry` by two variables, as click's own scripts do; each
item comes back as a line of three fields with tabs between them. Source: about_Register-ArgumentCompleter.
"""

import os
from typing import ClassVar

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

SHELL = "powershell"
#: Set by a shell that asks; its value names shell and what is wanted.
COMPLETE = "_WHERRY_COMPLETE"

_SCRIPT = r"""
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $line = $commandAst.ToString()
    if ($line.Length -lt $cursorPosition) { $line = $line.PadRight($cursorPosition) }
    $env:%(complete_var)s = "powershell_complete"
    $env:_WHERRY_LINE = $line.Substring(0, $cursorPosition)
    $env:_WHERRY_WORD = $wordToComplete
    try {
        & %(prog_name)s 2>$null | ForEach-Object {
            $kind, $value, $help = $_ -split "`t", 3
            if ($kind -eq "file") {
                Get-ChildItem -Path "$wordToComplete*" -ErrorAction Ignore | ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new($_.Name)
                }
            } else {
                if (-not $help) { $help = $value }
                [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
            }
        }
    } finally {
        Remove-Item Env:%(complete_var)s, Env:_WHERRY_LINE, Env:_WHERRY_WORD -ErrorAction Ignore
    }
}
"""


class PowerShellComplete(ShellComplete):
    name: ClassVar[str] = SHELL
    source_template: ClassVar[str] = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        line, incomplete = os.environ.get("_WHERRY_LINE", ""), os.environ.get("_WHERRY_WORD", "")
        words = split_arg_string(line)[1:]
        if incomplete and words and words[-1] == incomplete:
            words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        # PowerShell takes no empty texts.
        fields = (item.type, str(item.value), (item.help or "").replace("\t", " ").replace("\n", " "))
        return "\t".join(fields)


def register() -> None:
    """Before click looks at COMPLETE."""
    add_completion_class(PowerShellComplete)
