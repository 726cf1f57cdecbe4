"""The appliance description, as VirtualBox writes it: OVF 1.0 with VirtualBox's own element beside it.

VirtualBox reads `vbox:Machine` when it is there, and it alone can name the controller, which the Vagrantfile
and vboxqemu rely on ("SATA Controller"); other readers use the OVF part. Facts: DMTF DSP0243, and what
`VBoxManage export` of a VM with this hardware writes.
"""

import uuid

CONTROLLER = "SATA Controller"
MEMORY_MIB = 1024
CPUS = 2
_SATA_PORTS = 4

_DISK_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


def _item(**fields: str | int) -> str:
    """A hardware item. The schema wants its fields in alphabetical order, as VirtualBox does."""
    inner = "".join(f"<rasd:{name}>{value}</rasd:{name}>" for name, value in sorted(fields.items()))
    return f"      <Item>{inner}</Item>\n"


def _items() -> str:
    return "".join(
        (
            _item(
                Caption=f"{CPUS} virtual CPU", ElementName=f"{CPUS} virtual CPU", InstanceID=1, ResourceType=3
            ).replace("</Item>", f"<rasd:VirtualQuantity>{CPUS}</rasd:VirtualQuantity></Item>"),
            _item(
                AllocationUnits="MegaBytes",
                Caption=f"{MEMORY_MIB} MB of memory",
                ElementName=f"{MEMORY_MIB} MB of memory",
                InstanceID=2,
                ResourceType=4,
                VirtualQuantity=MEMORY_MIB,
            ),
            _item(
                Address=0,
                Caption="sataController0",
                ElementName="sataController0",
                InstanceID=3,
                ResourceSubType="AHCI",
                ResourceType=20,
            ),
            _item(
                AddressOnParent=0,
                Caption="disk1",
                ElementName="disk1",
                HostResource="/disk/vmdisk1",
                InstanceID=4,
                Parent=3,
                ResourceType=17,
            ),
            _item(
                AutomaticAllocation="true",
                Caption="Ethernet adapter on 'NAT'",
                Connection="NAT",
                ElementName="Ethernet adapter on 'NAT'",
                InstanceID=5,
                ResourceSubType="virtio",
                ResourceType=10,
            ),
        )
    )


def document(*, disk: str, disk_bytes: int, name: str, seed: str) -> str:
    """The text of box.ovf. disk: file name of the VMDK beside it; disk_bytes: size the guest sees; name: of
    the machine; seed: what the ids are derived from, so that the same box always carries the same."""
    machine_id = uuid.uuid5(uuid.NAMESPACE_OID, f"wherry machine {seed}")
    disk_id = uuid.uuid5(uuid.NAMESPACE_OID, f"wherry disk {seed}")
    return f"""<?xml version="1.0"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:vbox="http://www.virtualbox.org/ovf/machine">
  <References>
    <File ovf:id="file1" ovf:href="{disk}"/>
  </References>
  <DiskSection>
    <Info>The system disk</Info>
    <Disk ovf:capacity="{disk_bytes}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="{_DISK_FORMAT}"
     vbox:uuid="{disk_id}"/>
  </DiskSection>
  <NetworkSection>
    <Info>The hypervisor's NAT</Info>
    <Network ovf:name="NAT"><Description>NAT</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>Wherry's Linux machine</Info>
    <OperatingSystemSection ovf:id="96">
      <Info>Debian 13</Info>
      <Description>Debian_64</Description>
      <vbox:OSType ovf:required="false">Debian_64</vbox:OSType>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>
      </System>
{_items()}    </VirtualHardwareSection>
    <vbox:Machine ovf:required="false" version="1.16-linux" uuid="{{{machine_id}}}" name="{name}"
     OSType="Debian_64">
      <ovf:Info>The same in VirtualBox's own terms</ovf:Info>
      <Hardware>
        <CPU count="{CPUS}"><PAE enabled="true"/><LongMode enabled="true"/></CPU>
        <Memory RAMSize="{MEMORY_MIB}"/>
        <Boot>
          <Order position="1" device="HardDisk"/>
          <Order position="2" device="None"/>
          <Order position="3" device="None"/>
          <Order position="4" device="None"/>
        </Boot>
        <Display controller="VMSVGA" VRAMSize="16"/>
        <BIOS>
          <ACPI enabled="true"/>
          <IOAPIC enabled="true"/>
          <Logo fadeIn="false" fadeOut="false" displayTime="0"/>
          <BootMenu mode="Disabled"/>
        </BIOS>
        <Network>
          <Adapter slot="0" enabled="true" cable="true" type="virtio"><NAT/></Adapter>
        </Network>
        <UART>
          <Port slot="0" enabled="true" IOBase="0x3f8" IRQ="4" hostMode="Disconnected"/>
        </UART>
        <AudioAdapter driver="Null" enabled="false"/>
        <RTC localOrUTC="UTC"/>
      </Hardware>
      <StorageControllers>
        <StorageController name="{CONTROLLER}" type="AHCI" PortCount="{_SATA_PORTS}" useHostIOCache="true"
         Bootable="true">
          <AttachedDevice type="HardDisk" hotpluggable="false" port="0" device="0">
            <Image uuid="{{{disk_id}}}"/>
          </AttachedDevice>
        </StorageController>
      </StorageControllers>
    </vbox:Machine>
  </VirtualSystem>
</Envelope>
"""
