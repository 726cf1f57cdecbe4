"""Lint: no module that handles a container's root goes there by path.

Whoever controls a root can put a link in any place between two look-ups of a name. So names in it are
resolved once, by the kernel, with the root as the ceiling (guest/wherryd/sys/paths.py), and what was opened
is used by its descriptor. In the modules below, whatever takes a path is refused: os.path, pathlib, open,
shutil, glob, tempfile, tarfile, and functions of os without `dir_fd`. Allowed are

- constants: a path that stands in the source is our own ("/proc/self/mountinfo", "/dev/null", ".");
- functions of os that also take a descriptor, given one: a parameter declared `int`, or what a call whose
  name says that it opens (OPENERS) has given;
- what ALLOWED lists, with the reason.

Usage: python scripts/lint_root_paths.py; exit status 1 and one line per finding. Part of `make check`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ENGINE = Path(__file__).resolve().parent.parent / "guest" / "wherryd"

#: Whole folders and files that work inside roots; and all that import wherryd.sys.paths.
INSIDE = (
    "builder/copying", "containers/archive", "containers/populate.py", "containers/rootfiles.py",
    "images/diff.py", "images/unpack", "runtime/child.py", "runtime/devices.py", "runtime/execin.py",
    "runtime/identity.py", "runtime/init.py", "runtime/lookup.py", "runtime/rootfs.py", "spec/users.py",
)  # fmt: skip

#: (file, call as written) -> why it is no path of a container. One that fits nothing any more is an error.
ALLOWED = {
    ("builder/copying/child.py", "os.chdir(order.mount_point)"): "the engine's own folder, before the pivot",
    ("builder/copying/child.py", "Path(order.merge)"): "the engine's own file, before the pivot",
    ("builder/copying/merging.py", "os.listdir(there)"): "a descriptor",
    ("builder/copying/merging.py", "os.listdir(wanted)"): "a descriptor",
    ("builder/copying/merging.py", "shutil.rmtree(name, dir_fd=folder)"): "one name below a descriptor",
    ("builder/cachemounts.py", "shutil.rmtree(folder)"): "a cache's folder, by the engine's own name",
    ("builder/cachemounts.py", "os.chown(files, mount.uid or 0, mount.gid or 0)"): "just made by the engine",
    ("builder/runmounts.py", "Path(root[0].source)"): "a folder of the snapshotter's, by its own name",
    ("containers/populate.py", "os.scandir(volume)"): "the volume's folder, by the engine's own name",
    ("containers/rootfiles.py", "os.open(f'/proc/{pid}/root', paths.O_PATH | os.O_DIRECTORY)"): "its root",
    ("images/unpack/child.py", "os.chdir(order.directory)"): "the engine's own folder, before the pivot",
    ("images/unpack/process.py", "os.setxattr(descriptor, 'trusted.overlay.opaque', b'y')"): "received",
    ("images/layers.py", "os.chown(root, below.st_uid, below.st_gid)"): "the layer's own folder",
    ("runtime/init.py", "os.chdir(plan.bundle)"): "the bundle, before the pivot",
    ("runtime/init.py", "os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)"): "our own /proc/sys",
    ("runtime/lookup.py", "os.access(path, os.X_OK, effective_ids=True)"): "only for the message",
}  # fmt: skip

_MODULES = ("os.path", "posixpath", "shutil", "glob", "tempfile", "pathlib")
_METHODS = frozenset({"extract", "extractall"})
_PURE = frozenset({"basename", "commonpath", "dirname", "isabs", "join", "normpath", "relpath", "split"})
_BUILTINS = frozenset({"open", "Path", "io.open", "tarfile.open"})
_OF_OS = frozenset(
    {
        "access", "chdir", "chmod", "chown", "chroot", "getxattr", "lchown", "link", "listdir",
        "listxattr", "lstat", "makedirs", "mkdir", "mkfifo", "mknod", "open", "readlink", "remove",
        "removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "scandir", "setxattr",
        "stat", "statvfs", "symlink", "truncate", "unlink", "utime", "walk",
    }
)  # fmt: skip
#: Those that take a descriptor in the place of the path.
_OR_DESCRIPTOR = frozenset(
    {
        "chdir", "chmod", "chown", "getxattr", "listdir", "listxattr", "removexattr", "scandir",
        "setxattr", "stat", "statvfs", "truncate", "utime",
    }
)  # fmt: skip
_DIR_FD = frozenset({"dir_fd", "src_dir_fd", "dst_dir_fd"})
#: Calls that give descriptors, besides those with "open" in their name.
OPENERS = frozenset({"detached", "_folder", "_beneath"})


def modules() -> Iterator[Path]:
    """The files that are looked at."""
    for path in sorted(ENGINE.rglob("*.py")):
        name = path.relative_to(ENGINE).as_posix()
        inside = any(name == each or name.startswith(f"{each}/") for each in INSIDE)
        if inside or (name != "sys/paths.py" and _imports_paths(ast.parse(path.read_text()))):
            yield path


def _imports_paths(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.module == "wherryd.sys.paths":
                return True
            if node.module == "wherryd.sys" and any(each.name == "paths" for each in node.names):
                return True
    return False


def findings(source: str) -> Iterator[tuple[int, str]]:
    """(line, call as written) of each call that goes by a path."""
    tree = ast.parse(source)
    descriptors = {id(node): names for node, names in _descriptors(tree)}
    yield from _find(tree, frozenset(), descriptors)


def _descriptors(tree: ast.Module) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """For each function: its parameters declared int, and what it has opened."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        names = {each.arg for each in given if each.annotation and ast.unparse(each.annotation) == "int"}
        for inner in ast.walk(node):
            if isinstance(inner, ast.withitem):
                names |= _opened(inner.optional_vars, inner.context_expr)
            elif isinstance(inner, ast.Assign):
                names |= _opened(inner.targets[0], inner.value)
        yield node, frozenset(names)


def _opened(target: ast.expr | None, value: ast.expr) -> set[str]:
    if not (isinstance(target, ast.Name) and isinstance(value, ast.Call)):
        return set()
    function = _dotted(value.func).rpartition(".")[2]
    return {target.id} if "open" in function or function in OPENERS else set()


def _find(
    node: ast.AST, known: frozenset[str], descriptors: dict[int, frozenset[str]]
) -> Iterator[tuple[int, str]]:
    known = known | descriptors.get(id(node), frozenset())
    if isinstance(node, ast.Call) and _goes_by_path(node, known):
        yield node.lineno, ast.unparse(node)
    for child in ast.iter_child_nodes(node):
        yield from _find(child, known, descriptors)


def _goes_by_path(call: ast.Call, descriptors: frozenset[str]) -> bool:
    name = _dotted(call.func)
    module, _, function = name.rpartition(".")
    if call.args and isinstance(call.args[0], ast.Constant):
        return False  # our own path
    if (
        call.args
        and isinstance(call.args[0], ast.Call)
        and _dotted(call.args[0].func) in ("os.dup", "paths.self_fd")
    ):
        return False
    if module in _MODULES or name.startswith(tuple(f"{each}." for each in _MODULES)):
        return function not in _PURE
    if name in _BUILTINS or function in _METHODS:
        return True
    if module != "os" or function not in _OF_OS or {each.arg for each in call.keywords} & _DIR_FD:
        return False
    first = call.args[0] if call.args else None
    if function in _OR_DESCRIPTOR and isinstance(first, ast.Name) and first.id in descriptors:
        return False
    return not (isinstance(first, ast.Attribute) and first.attr == "devnull")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def check() -> list[str]:
    """One line per finding, and per entry of ALLOWED that fits nothing."""
    found, used = [], set()
    for path in modules():
        name = path.relative_to(ENGINE).as_posix()
        for line, call in findings(path.read_text()):
            if (name, call) in ALLOWED:
                used.add((name, call))
            else:
                found.append(f"guest/wherryd/{name}:{line}: {call} goes by a path: use wherryd.sys.paths")
    for name, call in ALLOWED.keys() - used:
        found.append(f"guest/wherryd/{name}: {call} is allowed by the lint, and is not there")
    return sorted(found)


if __name__ == "__main__":
    lines = check()
    print("\n".join(lines) if lines else f"{len(list(modules()))} modules keep to descriptors")
    sys.exit(1 if lines else 0)
