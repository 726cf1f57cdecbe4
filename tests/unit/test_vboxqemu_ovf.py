"""Reading appliance descriptions, also hostile ones."""

from pathlib import Path

import pytest

from vboxqemu import ovf
from vboxqemu.errors import FileProblem

TEXT = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/{version}"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/{version}"
 xmlns:vbox="http://www.virtualbox.org/ovf/machine"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="f" ovf:href="{href}"/></References>
  <DiskSection><Disk ovf:capacity="20" ovf:capacityAllocationUnits="GigaBytes" ovf:diskId="d"
   ovf:fileRef="f"/></DiskSection>
  <VirtualSystem ovf:id="box">
    <AnnotationSection><Annotation>a text</Annotation></AnnotationSection>
    <VirtualHardwareSection>
      <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>4</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>{unit}</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>{memory}</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceType>20</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>2</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d</rasd:HostResource>
        <rasd:Parent>7</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:ResourceSubType>{nic}</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
    <vbox:Machine OSType="Debian_64"><StorageControllers>
      <StorageController name="My SATA" type="AHCI"/></StorageControllers></vbox:Machine>
  </VirtualSystem>
</Envelope>
"""


def write(folder: Path, **changes: str) -> str:
    values = {"version": "1", "href": "disk.vmdk", "unit": "MegaBytes", "memory": "768", "nic": "E1000"}
    path = folder / "box.ovf"
    path.write_text(TEXT.format(**(values | changes)))
    return str(path)


@pytest.mark.parametrize("version", ["1", "2"])
def test_hardware_is_read_whatever_the_version(tmp_path: Path, version: str) -> None:
    appliance = ovf.read(write(tmp_path, version=version))
    assert (appliance.name, appliance.os_type, appliance.description) == ("box", "Debian_64", "a text")
    assert (appliance.cpus, appliance.memory_mib, appliance.nic_models) == (4, 768, ("82540EM",))
    (disk,) = appliance.disks
    assert (disk.href, disk.parent, disk.port, disk.capacity_bytes) == ("disk.vmdk", "7", 2, 20 << 30)
    assert appliance.controller_names == {"sata": "My SATA"}


@pytest.mark.parametrize(
    ("unit", "memory", "mib"),
    [
        ("MegaBytes", "512", 512),
        ("byte * 2^20", "512", 512),
        ("GigaBytes", "2", 2048),
        ("byte", "1073741824", 1024),
    ],
)
def test_memory_is_read_in_the_unit_it_is_given_in(tmp_path: Path, unit: str, memory: str, mib: int) -> None:
    assert ovf.read(write(tmp_path, unit=unit, memory=memory)).memory_mib == mib


@pytest.mark.parametrize("href", ["../x.vmdk", "/etc/shadow", "a/b.vmdk", "..\\x.vmdk", ""])
def test_disk_elsewhere_on_the_host_is_refused(tmp_path: Path, href: str) -> None:
    with pytest.raises(FileProblem, match="not a file beside the OVF"):
        ovf.read(write(tmp_path, href=href))


@pytest.mark.parametrize("text", ["", "no xml", "<a/>", "<Envelope><References/></Envelope>"])
def test_what_is_no_appliance_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "box.ovf"
    path.write_text(text)
    with pytest.raises(FileProblem, match="Error reading"):
        ovf.read(str(path))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="VERR_FILE_NOT_FOUND"):
        ovf.read(str(tmp_path / "none.ovf"))
