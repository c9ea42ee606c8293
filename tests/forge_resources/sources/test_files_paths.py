"""Names that come from outside, and what is kept of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_resources.sources.files.paths import archive_name, is_hidden, is_photo, safe_path

PARTS = st.sampled_from(
    ["..", ".", "", "a", "b.jpg", "C:", "x\\y", "..\\..", "\0", "\udcff", "ä", "%2E%2E", "a:b", "\n"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("/".join) | st.text(min_size=1, max_size=30)


@given(NAMES)
def test_what_is_kept_never_climbs_and_is_text(name):
    path, _ = safe_path(name)
    assert not {"", ".", ".."} & set(path.split("/"))
    assert not re.search(r"[\\\x00-\x1f\x7f]", path)
    assert not re.match(r"[A-Za-z]:", path)
    assert path.encode()


@given(NAMES)
def test_a_name_is_kept_as_it_is_or_refused(name):
    path, refusal = safe_path(name)
    assert (refusal is None) == (path == name)


@given(NAMES)
def test_what_is_kept_is_safe_itself(name):
    path, _ = safe_path(name)
    assert safe_path(path) == (path, None)


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "\\\\host\\x.jpg", "C:/x.jpg", "c:x.jpg", "a\\..\\x.jpg"]
)
def test_names_that_lead_out_are_refused_as_such(name):
    assert safe_path(name)[1].rule == "outside_folder"


@pytest.mark.parametrize("name", ["a//x.jpg", "a/./x.jpg", "a\\x.jpg", "x\0.jpg", "\udcff.jpg", "a\n.jpg"])
def test_names_that_cannot_be_those_of_files_are_refused_as_such(name):
    assert safe_path(name)[1].rule == "unreadable_file"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("patch0.tar.gz", "patch0"),
        ("patch0.TGZ", "patch0"),
        ("a.b.tar", "a.b"),
        ("x.zip", "x"),
        ("x.gz", None),
        (".zip", None),
        ("a/b.zip", "b"),
    ],
)
def test_archives_are_told_by_their_suffix(file, name):
    assert archive_name(file) == name


def test_photos_are_told_by_their_suffix_and_not_hidden():
    assert is_photo("a/b.JPG")
    assert is_photo("../b.jpg")
    assert not is_photo("a/._b.jpg")
    assert not is_photo(".a/b.jpg")
    assert not is_photo("b.heic")
    assert not is_hidden("./b.jpg")
