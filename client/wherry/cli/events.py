"""`wherry events`."""

import click

from wherry.cli.command import engine, filters_option, print_text, verb


@verb("events")
@filters_option
@click.option("--format", "form", help="json or a Go template.")
@click.option("--since", help='Show events since a time ("2013-01-02T13:23:37Z") or an age ("42m").')
@click.option("--until", help='Stream until a time ("2013-01-02T13:23:37Z") or an age ("-42m" is to come).')
@click.pass_context
def events(
    ctx: click.Context,
    filters: list[tuple[str, str]],
    form: str | None,
    since: str | None,
    until: str | None,
) -> int:
    """Get real time events from the server."""
    import sys

    from wherry.cli.output.events import printer
    from wherry.cli.timing import moment
    from wherry.engine.client import filters as encoded
    from wherry.errors import EngineProblem
    from wherrywire.jsonlines import Decoder, LineError

    show = printer(form)
    params = {
        "since": since and moment(since, ""),
        "until": until and moment(until, ""),
        "filters": encoded(filters),
    }
    decoder = Decoder()
    try:
        for chunk in engine(ctx).chunks("/events", params):
            for event in decoder.feed(chunk):
                print_text(show(event) + "\n")
            sys.stdout.flush()
    except LineError as exc:
        raise EngineProblem(f"the engine's events cannot be read: {exc}; see its log") from exc
    except KeyboardInterrupt:
        return 130  # how one leaves: no message
    return 0
