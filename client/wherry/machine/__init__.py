"""The virtual machine: what it is, who runs it, how it is made, started, stopped and removed.

    record      what a machine was asked to be (machine.json)
    store       finding and loading machines
    provider    the seam every hypervisor is behind
    virtualbox  the provider we have; vagrant makes and destroys, vboxmanage does everything else
    keys, seed  what goes into the guest before its first boot
    serial      what the guest says while it boots
    create, remove   the two long verbs

Out: SSH (tunnel), the background process (agent), anything printed (cli).
"""
