"""`wherry system dial-stdio`: the far end of an engine over ssh (engine/ssh.py, and docker's own ssh://)."""

import os
import sys
import threading

import click

from wherry.cli.command import verb, wanted

_BYTES = 64 * 1024


@verb("dial-stdio", hidden=True)
@click.pass_context
def dial_stdio(ctx: click.Context) -> None:
    """Carry bytes between standard input and output and the engine."""
    from wherry.engine import dockerconfig
    from wherry.engine.dial import dial
    from wherry.engine.endpoint import resolve

    connection = dial(resolve(wanted(ctx), current=dockerconfig.current_context(dockerconfig.document())))

    def forward() -> None:
        while data := os.read(sys.stdin.fileno(), _BYTES):
            connection.sendall(data)
        connection.close_write()

    # A daemon: the engine's end is the end, whatever the other side still says.
    threading.Thread(target=forward, name="stdin", daemon=True).start()
    out = sys.stdout.buffer
    while data := connection.recv(_BYTES):
        out.write(data)
        out.flush()
    connection.close()
