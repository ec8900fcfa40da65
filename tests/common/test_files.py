"""A file is written whole or not at all."""

import pytest

from experiments.common.files import whole_file, write_text


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_at_the_end_and_stays_when_writing_fails(tmp_path, durable):
    path = tmp_path / "new" / "page.html"
    write_text(path, "first", durable=durable)
    with whole_file(path, durable=durable) as part:
        assert (part.parent, part.suffix) == (path.parent, path.suffix)
        part.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"

    def fail():
        with whole_file(path, durable=durable) as part:
            part.write_text("half")
            raise OSError(28, "No space left")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_text() == "second"
    assert [found.name for found in path.parent.iterdir()] == ["page.html"]


def test_half_a_character_is_written_as_its_escape(tmp_path):
    write_text(tmp_path / "a", "é\udc80")
    assert (tmp_path / "a").read_bytes() == "é\\udc80".encode()
