"""Zips made on the fly: well-formed ones by zipfile, crooked ones by changing their bytes."""

import io
import stat
import zipfile

import pytest


class ZipMaker:
    """Entries in order; ``bytes()`` gives the zip."""

    def __init__(self, compression=zipfile.ZIP_DEFLATED):
        self._buffer = io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", compression)
        self._compression = compression

    def add(self, name, content=b"", mode=stat.S_IFREG | 0o644, system=3):
        info = zipfile.ZipInfo("placeholder")
        # Set afterwards: the constructor would tidy the name up.
        info.filename = name
        info.create_system = system
        info.external_attr = mode << 16
        info.compress_type = self._compression
        if name in self._zip.namelist():
            with pytest.warns(UserWarning, match="Duplicate"):
                self._zip.writestr(info, content)
        else:
            self._zip.writestr(info, content)
        return self

    def link(self, name, target):
        return self.add(name, target.encode(), stat.S_IFLNK | 0o777)

    def bytes(self):
        self._zip.close()
        return self._buffer.getvalue()


@pytest.fixture
def tree(tmp_path):
    """An empty directory to unpack into."""
    place = tmp_path / "tree"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def new_zip():
    return ZipMaker


@pytest.fixture
def zip_of():
    """A zip of the given names, each holding its own name."""

    def make(*names):
        maker = ZipMaker()
        for name in names:
            maker.add(name, b"" if name.endswith("/") else name.encode())
        return maker.bytes()

    return make


@pytest.fixture
def snapshot():
    """Everything below a directory: path -> (kind and mode, content or target)."""

    def take(root):
        found = {}
        for path in sorted(root.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                content = str(path.readlink())
            else:
                content = path.read_bytes() if stat.S_ISREG(mode) else None
            found[str(path.relative_to(root))] = (stat.filemode(mode), content)
        return found

    return take
