from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim.cli._input import _npy, check_output, load_matrix, load_problem, load_rhs
from amcsim.mapping import check_matrix


def npy(array: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), **options)
    return buffer.getvalue()


MATRIX = npy(np.eye(3))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"1, 2\n3, 4\n"),
        ("a.csv", b"\xef\xbb\xbf1,2\r\n3,4\r\n"),
        ("a.txt", b"# conductances\n1 2\n\n3\t4 # last\n"),
        ("a.txt", b"1.0,2e0\n+3,4"),
        ("a.npy", npy(np.array([[1, 2], [3, 4]], dtype=np.int8))),
        ("a.npy", npy(np.array([[1, 2], [3, 4]], dtype=">f4", order="F"))),
    ],
)
def test_a_matrix_reads_the_same_from_text_and_npy(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    found = load_matrix(str(tmp_path / name))
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", npy(np.eye(2) * 1j), "complex128, not real numbers"),
        ("a.npy", npy(np.array([[1, None]], dtype=object), allow_pickle=True), "Python objects, not real numbers"),
        ("a.npy", npy([["1", "2"]]), "not real numbers"),
        ("a.npy", npy([[True, False], [False, True]]), "bool, not real numbers"),
        ("a.npy", npy(np.zeros((2, 2), dtype=[("re", "f8")])), "not real numbers"),
        ("a.npy", npy([[1.0, np.nan], [0.0, 1.0]]), "NaN or infinite"),
        ("a.npy", npy(np.zeros((0, 0))), "not empty"),
        ("a.npy", npy(np.eye(3)[:2]), "(2, 3); INV needs a square one"),
        ("a.npy", npy(np.zeros((2, 2, 2))), "two-dimensional"),
        ("a.npy", npy(1.0), "two-dimensional"),
        ("a.npy", MATRIX[:-1], "no readable .npy file"),
        ("a.npy", b"\x80\x04]\x94.", "no readable .npy file"),
        ("a.npy", b"", "no readable .npy file"),
        ("a.csv", b"1,2\n3\n", "line 2 has 1 numbers, but the first row has 2"),
        ("a.csv", b"a,b\n1,2\n", "line 1, column 1 holds 'a', not a real number"),
        ("a.csv", b"1,\n2,3\n", "line 1, column 2 is blank"),
        ("a.csv", b"1,2j\n2,3\n", "line 1, column 2 holds '2j'"),
        ("a.csv", b"1_0,2\n2,3\n", "line 1, column 1 holds '1_0'"),
        ("a.csv", b"1,inf\n2,3\n", "NaN or infinite"),
        ("a.txt", b"# nothing\n", "is empty"),
        ("a.txt", b"\xff\xfe1\x00", "no text of rows of numbers"),
        ("a.mat", b"1", "the ending must be one of .npy, .csv, .txt"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_sentence_with_the_files_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as refused:
        load_matrix(str(tmp_path / name))
    assert words in str(refused.value)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "does not exist"), (tmp_path, "ending")):
        with pytest.raises(ValueError, match=words):
            load_matrix(str(path))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"cannot be read: Is a directory"):
        load_matrix(str(tmp_path / "folder.csv"))


@pytest.mark.parametrize(
    ("name", "content", "shape"),
    [
        ("b.txt", b"1 2 3", (3,)),
        ("b.txt", b"1\n2\n3", (3,)),
        ("b.csv", b"1,2\n3,4\n5,6", (3, 2)),
        ("b.npy", npy(np.ones(3)), (3,)),
        ("b.npy", npy(np.ones((3, 1))), (3, 1)),
        ("b.npy", npy(np.ones((3, 4))), (3, 4)),
    ],
)
def test_right_hand_sides_are_a_vector_or_columns(
    tmp_path: Path, name: str, content: bytes, shape: tuple[int, ...]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert load_rhs(str(tmp_path / name), 3).shape == shape


@pytest.mark.parametrize("array", [np.ones(4), np.ones((1, 3)), np.ones((3, 0)), np.ones((3, 1, 1)), np.float64(1)])
def test_right_hand_sides_of_another_shape_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "b.npy", array)
    with pytest.raises(ValueError, match="shape"):
        load_rhs(str(tmp_path / "b.npy"), 3)


def test_standard_input_gives_one_of_both_only() -> None:
    with pytest.raises(ValueError, match="read only once"):
        load_problem("-", "-")


@given(st.lists(st.tuples(st.integers(0, len(MATRIX) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_npy_file_gives_finite_numbers_or_a_sentence(changes: list[tuple[int, int]]) -> None:
    content = bytearray(MATRIX)
    for place, byte in changes:
        content[place] = byte
    try:
        found = check_matrix(_npy(bytes(content), "matrix a.npy"), what="matrix a.npy")
    except ValueError as error:
        found = np.zeros(1)
        sentence = str(error)
    else:
        sentence = "matrix a.npy"
    assert sentence.startswith("matrix a.npy")
    assert np.isfinite(found).all()


def test_outputs_are_checked_before_the_work_starts(tmp_path: Path) -> None:
    check_output(tmp_path / "deck.cir")
    check_output(tmp_path / "w.PNG", (".png", ".raw"))
    for path, words in (
        (tmp_path / "w.gif", "ending must be one of .png, .raw"),
        (tmp_path / "no" / "w.png", "folder .*no does not exist"),
        (tmp_path, "ending|is a folder"),
    ):
        with pytest.raises(ValueError, match=words):
            check_output(path, (".png", ".raw"))
    with pytest.raises(ValueError, match="is a folder"):
        check_output(tmp_path)
