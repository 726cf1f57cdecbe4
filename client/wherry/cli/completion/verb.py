"""`wherry completion`: the script that a shell loads."""

import click

from wherry.cli.command import print_text, verb

SHELLS = ("bash", "zsh", "fish", "powershell")


@verb("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell; it completes names of containers, images and so on, too.

    \b
    bash        wherry completion bash > ~/.local/share/bash-completion/completions/wherry
    zsh         wherry completion zsh > "${fpath[1]}/_wherry"
    fish        wherry completion fish > ~/.config/fish/completions/wherry.fish
    powershell  wherry completion powershell >> $PROFILE
    """
    from click.shell_completion import get_completion_class

    from wherry.cli.completion.powershell import COMPLETE, register

    register()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}", ctx)
    completer = kind(ctx.find_root().command, {}, "wherry", COMPLETE)
    print_text(completer.source_template % completer.source_vars() + "\n")
