"""The resolver that containers of users' networks find at 127.0.0.11.

    resolvers  which container has one; opens its sockets inside the container's namespace
    receiver   the thread that takes all datagrams, and repeats answers that are still true
    server     one container's questions, over UDP and TCP
    answering  a query of one container -> an answer: names of the network, or upstream
    directory  names and addresses of a container's networks
    upstream   asks the real servers; cache: what they said, for as long as they said
    wire       DNS messages as bytes

Source: RFC 1035, RFC 2308 (negative answers), RFC 7766 (TCP).
"""
