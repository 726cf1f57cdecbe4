"""The resolver that containers of users' networks find at 127.0.0.11.

    resolvers  which container has one; opens its sockets inside the container's namespace
    server     bytes in and out, over UDP and TCP
    answering  a query of one container -> an answer: names of the network, or upstream
    directory  names and addresses of a container's networks
    upstream   asks the real servers; cache: what they said, for as long as they said
    wire       DNS messages as bytes, where dnslib would be too slow or too little

Messages are read and written by dnslib. Source: RFC 1035, RFC 2308 (negative answers), RFC 7766 (TCP).
"""
