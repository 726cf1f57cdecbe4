"""HTTP/1.1 as the Engine API speaks it: requests in, answers, streams and connections taken over.

Our own, because the daemon keeps it in memory for as long as it lives and pays for it with every request
(docs/decisions/012). Source: RFC 9110 and RFC 9112; WebSocket: RFC 6455.

    head.py        the first lines of a request, and what they say about its body; no I/O
    framing.py     bodies by length and in chunks; no I/O
    messages.py    Request and the answers, as handlers see them
    routes.py      which handler a path belongs to
    connection.py  one connection: reads, has it handled, writes; back-pressure both ways
    server.py      all of them
    websocket.py   frames (no I/O) and a connection that carries them
    web.py         the names that handlers need
"""
