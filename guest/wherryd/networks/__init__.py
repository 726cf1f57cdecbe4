"""Network namespaces, bridges, addresses, names and published ports of containers.

Door: `service.NetworkService`. Values that cross it: `sandbox.Sandbox`, `sandbox.EndpointWish`,
`sandbox.PortBinding`. Behind it: `attaching` connects containers, `fabric` has the bridge networks at work,
`members` knows who is where, `dns` answers names. Pure helpers for others: `resolv` and `hosts` build a
container's two files.
"""
