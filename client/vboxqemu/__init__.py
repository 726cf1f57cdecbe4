"""A VBoxManage-compatible command on QEMU: the same verbs, options, output and errors, another hypervisor.

Vagrant's virtualbox provider and Wherry's own client talk to `VBoxManage`. Where there is no VirtualBox this
package answers in its place. Standard library only: Vagrant starts the command a hundred times in one `up`,
so a call must cost little more than the interpreter's own start. That rules the style here:

* what the two hot verbs (`showvminfo`, `list`) load is kept to os, sys and json: no dataclasses, pathlib,
  typing, re;
* records are plain JSON documents, typed by the TypedDicts of `schema.py`, which only the type checker
  imports;
* everything else is imported by the verb that needs it.

    main        the command: verb -> module below commands/, errors -> exit status
    commands/   one file per verb or pair of verbs
    store       VMs on disk      state   what a VM is doing, asked of the system each time
    media, images, ovf           disks: which there are, qemu-img, appliance files
    launch, control, supervisor, qmp, argv, accel      QEMU: start, steer, watch, talk, options, acceleration
    shim        writes the executable `VBoxManage`
"""
