"""The Engine API from the client's side: where the engine is, and how to talk to it.

    endpoint.py   -H, WHERRY_HOST, DOCKER_HOST or the machine's socket -> Endpoint
    dial.py       Endpoint -> connected socket (a named pipe on Windows: _windows.py)
    http.py       HTTP over such a socket
    hijack.py     attach and exec: HTTP first, then raw bytes both ways, with half-close
    client.py     EngineClient: calls, errors, version negotiation
    progress.py   JSON lines of pull, import and load
    create.py     options of `run` -> body of POST /containers/create (its parsers: parse/)

Out: anything that prints.
"""
