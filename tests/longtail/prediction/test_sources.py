import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.errors import InputError
from longtail.prediction.sources import open_images


def data(images, start=0):
    """Return the bytes of each image, or the error in its place."""
    found = []
    for read in images.encoded(start):
        try:
            found.append(read())
        except OSError as error:
            found.append(error.strerror)
    return found


def test_images_of_all_folders_in_the_order_of_their_paths(picture_folder, pictures, encode):
    images = open_images(str(picture_folder))
    names = sorted(pictures)
    assert images.places(0, 40) == {"path": names}
    expected = [pictures[name] if isinstance(pictures[name], bytes) else encode(pictures[name]) for name in names]
    assert data(images) == expected
    assert data(images, 38) == expected[38:]


def test_another_listing_has_another_digest(picture_folder):
    before = open_images(str(picture_folder)).digest
    assert open_images(str(picture_folder)).digest == before
    (picture_folder / "a" / "c 00.png").write_bytes(b"another")
    assert open_images(str(picture_folder)).digest != before


def test_a_file_that_vanished_is_an_error_of_its_own(picture_folder):
    images = open_images(str(picture_folder))
    (picture_folder / "a" / "c 02.png").unlink()
    assert data(images)[1] == "No such file or directory"


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_a_column_of_parquet_files(tmp_path, kind):
    values = [b"0", b"1", None, b"3", b"4"]
    column = [{"bytes": value, "path": ""} for value in values] if kind == "struct" else values
    (tmp_path / "d" / "e").mkdir(parents=True)
    pq.write_table(pa.table({"image": column[:3], "z": [0] * 3}), tmp_path / "d" / "a.parquet", row_group_size=2)
    pq.write_table(pa.table({"image": column[3:], "z": [0] * 2}), tmp_path / "d" / "e" / "b.parquet")
    images = open_images(str(tmp_path / "d"))
    assert data(images) == [b"0", b"1", "no image bytes", b"3", b"4"]
    assert data(images, 3) == [b"3", b"4"]
    assert images.places(2, 5) == {"path": ["a.parquet", "e/b.parquet", "e/b.parquet"], "row": [2, 0, 1]}
    assert len(open_images(str(tmp_path / "d" / "a.parquet"))) == 3


def test_bad_places_are_refused_in_one_line(tmp_path):
    def refuses(message, place=tmp_path):
        with pytest.raises(InputError) as raised:
            open_images(str(place))
        assert message in str(raised.value) and "\n" not in str(raised.value)

    refuses("does not exist", tmp_path / "nowhere")
    refuses("holds no images")
    pq.write_table(pa.table({"x": [1], "label": [2]}), tmp_path / "t.parquet")
    refuses("has no columns of images: one of img, image, images must be there; it has x, label")
    pq.write_table(pa.table({"img": [b""], "image": [b""]}), tmp_path / "t.parquet")
    refuses("has 2 columns of images")
    pq.write_table(pa.table({"img": [1]}), tmp_path / "t.parquet")
    refuses("must hold encoded image bytes")
    (tmp_path / "a.png").write_bytes(b"")
    refuses("holds 1 images and 1 Parquet files")


@pytest.mark.server
def test_a_store_gives_the_same_as_the_folder(seaweed, use_store, picture_folder, dead_store):
    use_store(seaweed.port)
    for file in (file for file in picture_folder.rglob("*") if file.is_file()):
        key = f"predicted/{file.relative_to(picture_folder)}"
        seaweed.client().put_object(Bucket=seaweed.bucket(), Key=key, Body=file.read_bytes())
    stored, local = open_images("s3://images/predicted"), open_images(str(picture_folder))
    assert stored.places(0, 40) == local.places(0, 40)
    assert data(stored, 5) == data(local, 5)
    with pytest.raises(InputError, match="holds no images"):
        open_images("s3://images/nothing-here")
    dead_store()
    with pytest.raises(InputError, match="check AWS_ENDPOINT_URL"):
        open_images("s3://images/predicted")
