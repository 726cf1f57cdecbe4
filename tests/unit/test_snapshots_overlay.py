"""What only the overlay driver promises: the shape of its mounts."""

import tempfile
from pathlib import Path

import pytest

from wherryd.errors import InvalidParameter, SystemFault
from wherryd.snapshots.drivers import open_driver
from wherryd.snapshots.overlay import MAX_LAYERS, OverlayDriver


def stack(driver: OverlayDriver, height: int) -> str:
    parent = ""
    for number in range(height):
        driver.prepare(f"k{number}", parent)
        driver.commit(f"k{number}", f"n{number}")
        parent = f"n{number}"
    return parent


def test_lower_directories_are_listed_uppermost_first(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path / "o")
    top = stack(driver, 3)
    (mount,) = driver.prepare("box", top)
    assert mount.type == "overlay"
    lowers = next(o for o in mount.options if o.startswith("lowerdir=")).removeprefix("lowerdir=").split(":")
    assert lowers == [str(driver.layer_directory(name)) for name in ("n2", "n1", "n0")]
    assert f"upperdir={driver.unpack_target('box').directory}" in mount.options
    assert any(option.startswith("workdir=") for option in mount.options)


def test_most_layers_fit_in_one_mount_call_below_the_usual_root() -> None:
    # /var/lib/wherry/overlay/l/ is 26 bytes, an id of up to 1295 snapshots two more, and a separator.
    assert (26 + 2 + 1) * MAX_LAYERS + 200 < 4095


def test_one_layer_too_many_is_refused_with_the_limit() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as root:  # pytest's own folder has too long a name
        driver = OverlayDriver(Path(root))
        top = stack(driver, MAX_LAYERS + 1)
        with pytest.raises(InvalidParameter, match="limit is 127"):
            driver.view("look", top)


def test_options_longer_than_a_page_say_to_shorten_the_root(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path / ("long" * 25))
    with pytest.raises(SystemFault, match="--data-root"):
        stack(driver, 60)


def test_root_with_a_colon_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="--data-root"):
        OverlayDriver(tmp_path / "a:b")


def test_unknown_driver_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="overlay, vfs"):
        open_driver(tmp_path, "zfs")


def test_dockers_name_for_the_overlay_driver_works(tmp_path: Path) -> None:
    assert open_driver(tmp_path, "overlay2").name == "overlay"
