"""Network namespaces, the bridge, addresses and published ports of containers.

Door: `service.NetworkService`. Values that cross it: `sandbox.Sandbox`, `sandbox.PortBinding`. Pure
helpers for others: `ports.parse_port_bindings`, `resolv.container_resolv_conf`, `hosts.hosts_file`.
"""
