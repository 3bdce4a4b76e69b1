"""A file is there whole, or as it was before."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

from amcsim.runs import atomic_write, json_text, plain, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    write_text(target, "old\n")
    with pytest.raises(UnicodeEncodeError), atomic_write(target) as temporary:
        temporary.write_text("half" * 9000 + "\ud800", encoding="utf-8")
    assert target.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_folder_and_suffix(tmp_path: Path) -> None:
    target = tmp_path / ("long" * 60 + ".npz")
    with atomic_write(target) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".npz")
        np.savez(temporary, x=np.arange(3))
    with np.load(target) as stored:
        assert stored["x"].tolist() == [0, 1, 2]


def test_mode_follows_the_umask_and_links_stay_links(tmp_path: Path) -> None:
    target, link = tmp_path / "real.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    umask = os.umask(0o022)
    try:
        write_text(link, "µS\r\n")
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert target.read_bytes() == "µS\r\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_a_device_stays_a_device() -> None:
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder, not a file to write"):
        write_text(tmp_path, "x")
    with pytest.raises(FileNotFoundError, match=r"a.txt cannot be written: there is no folder .*nowhere"):
        write_text(tmp_path / "nowhere" / "a.txt", "x")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # a write beyond fails, as on a full disk
    try:
        with pytest.raises(OSError, match=r"cannot be written: .*'.*/big.txt'") as error:
            write_text(tmp_path / "big.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_json_has_numpy_but_no_nan(tmp_path: Path) -> None:
    value = {"x": np.array([1.5, 2.0]), "n": np.int64(3), "ok": np.bool_(True), "file": tmp_path, "none": None}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "x": [1.5, 2.0], "n": 3, "ok": True, "file": str(tmp_path), "none": None
    }  # fmt: skip
    assert json_text({"a": 1}) == '{"a": 1}'
    with pytest.raises(ValueError, match=r"^\$\.runs\[1\]\.x\[0\] is nan, which JSON cannot hold$"):
        write_json(tmp_path / "b.json", {"runs": [0.0, {"x": np.array([np.nan])}]})
    with pytest.raises(ValueError, match=r"^\$\.y is inf"):
        json_text({"y": float("inf")})
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        json_text(object())
    assert not (tmp_path / "b.json").exists()


def test_json_has_no_nan_and_only_its_own_types() -> None:
    value = {1: np.array([1.0, np.nan]), "n": np.int64(3), "p": Path("a"), "i": float("inf"), "t": (True, None, "x")}
    assert plain(value) == {"1": [1.0, None], "n": 3, "p": "a", "i": None, "t": [True, None, "x"]}
