"""Network namespaces, the bridge, addresses and published ports of containers.

Door: `service.NetworkService`. Values that cross it: `sandbox.Sandbox`, `sandbox.PortBinding`. Pure
helpers for others: `resolv.resolv_conf` and `hosts.hosts_file` build a container's two files.
"""
