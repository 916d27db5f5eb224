"""Parquet files in Hugging Face's layout, and CIFAR-10 in it."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from joulelab.errors import DatasetError, UsageError
from joulelab.learning.images import ImageShape, load_images


def _encode(pixels, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, file_format)
    return buffer.getvalue()


def _write(path, images, labels, image="img", label="label", metadata=None):
    """A Parquet file of encoded images."""
    table = pa.table({image: [{"bytes": b, "path": None} for b in images], label: labels})
    if metadata:
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3))


@pytest.fixture
def folder(tmp_path):
    """Eight training images in two files and four test images, 3x5x4, lossless."""
    encoded = [_encode(pixels) for pixels in PIXELS]
    _write(tmp_path / "birds" / "train-00000-of-00002.parquet", encoded[:5], [0, 1, 2, 0, 1])
    _write(tmp_path / "birds" / "train-00001-of-00002.parquet", encoded[5:8], [2, 0, 1])
    _write(tmp_path / "birds" / "test-00000-of-00001.parquet", encoded[8:], [0, 1, 2, 2])
    return tmp_path


TRAIN = "birds/train-00000-of-00002.parquet"
TEST = "birds/test-00000-of-00001.parquet"


def _two_lines(folder, name="hf-parquet:birds"):
    with pytest.raises(DatasetError) as caught:
        load_images(name, folder)
    message, hint = str(caught.value).split("\n")
    return message, hint


def test_all_files_of_a_part_are_read_in_order(folder):
    images = load_images("hf-parquet:birds", folder)
    assert images.shape == ImageShape(3, 5, 4)
    assert images.classes == 3
    assert np.array_equal(images.train.images, PIXELS[:8].transpose(0, 3, 1, 2))
    assert np.array_equal(images.test.images, PIXELS[8:].transpose(0, 3, 1, 2))
    assert images.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_an_absolute_folder_needs_no_data_folder(folder):
    assert len(load_images(f"hf-parquet:{folder / 'birds'}").train) == 8


def test_validation_stands_in_for_test(folder):
    (folder / TEST).rename(folder / "birds" / "validation-00000-of-00001.parquet")
    assert len(load_images("hf-parquet:birds", folder).test) == 4


@pytest.mark.parametrize(
    ("image", "label"), [("image", "labels"), ("image", "fine_label"), ("img", "fine_label")]
)
def test_other_names_of_the_columns(folder, image, label):
    _write(folder / TEST, [_encode(PIXELS[0])], [1], image, label)
    assert load_images("hf-parquet:birds", folder).test.labels.tolist() == [1]


def test_metadata_tells_the_number_of_classes(folder):
    features = {"label": {"names": list("abcdefg"), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    _write(folder / TRAIN, [_encode(PIXELS[0])], [1], metadata=metadata)
    assert load_images("hf-parquet:birds", folder).classes == 7


def test_grey_images_have_one_channel(tmp_path):
    for part in ("train", "test"):
        _write(tmp_path / f"grey/{part}-0.parquet", [_encode(PIXELS[0, :, :, 0])], [0])
    images = load_images("hf-parquet:grey", tmp_path)
    assert images.shape == ImageShape(1, 5, 4)
    assert np.array_equal(images.train.images[0, 0], PIXELS[0, :, :, 0])


def test_grey_among_coloured_images_becomes_coloured(folder):
    _write(folder / TEST, [_encode(PIXELS[0, :, :, 0])], [0])
    images = load_images("hf-parquet:birds", folder)
    assert images.test.images.shape == (1, 3, 5, 4)
    assert all(np.array_equal(images.test.images[0, c], PIXELS[0, :, :, 0]) for c in range(3))


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_file_that_is_cut_short_is_named(folder, keep):
    path = folder / TRAIN
    path.write_bytes(path.read_bytes()[:keep])
    message, hint = _two_lines(folder)
    assert str(path) in message
    assert hint == "delete it and fetch it again"


def test_a_file_with_overwritten_pages_is_named(folder):
    path = folder / TEST
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    message, _ = _two_lines(folder)
    assert str(path) in message


def test_a_corrupt_image_is_named_by_file_and_row(folder):
    jpeg = _encode(np.zeros((5, 4, 3)), "JPEG")
    for damaged in (jpeg[:-40], b"not an image", b"", None):
        _write(folder / TEST, [_encode(PIXELS[0]), damaged], [0, 1])
        message, hint = _two_lines(folder)
        assert f"{folder / TEST}, row 1, cannot be decoded" in message
        assert "fetch the file again" in hint


def test_a_missing_part_says_the_layout(folder):
    (folder / TEST).unlink()
    message, hint = _two_lines(folder)
    assert message == f"{folder / 'birds'} has no file test-*.parquet"
    assert "validation-*.parquet" in hint


def test_a_missing_column_lists_those_there(folder):
    _write(folder / TEST, [_encode(PIXELS[0])], [1], image="picture")
    message, hint = _two_lines(folder)
    assert message == f"{folder / TEST} has no image column, only picture, label"
    assert hint == "name it img or image"


def test_columns_of_another_type_are_named(folder):
    _write(folder / TEST, [_encode(PIXELS[0])], ["robin"])
    assert f"column label of {folder / TEST} holds string" in _two_lines(folder)[0]
    pq.write_table(pa.table({"img": [1], "label": [1]}), folder / TEST)
    assert f"column img of {folder / TEST} holds int64" in _two_lines(folder)[0]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_named_by_file_and_row(folder, label):
    features = {"label": {"names": list("abc"), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    _write(folder / TRAIN, [_encode(PIXELS[0])] * 2, [0, label], metadata=metadata)
    message, _ = _two_lines(folder)
    assert f"{folder / TRAIN}, row 1, has the label {label}" in message


def test_a_row_without_a_label_is_named(folder):
    _write(folder / TEST, [_encode(PIXELS[0])] * 2, [0, None])
    assert f"{folder / TEST}, row 1, has no label" in _two_lines(folder)[0]


def test_a_file_without_rows_is_an_error(folder):
    table = pq.read_table(folder / TEST)
    pq.write_table(table.slice(0, 0), folder / TEST)
    assert "has no test images" in _two_lines(folder)[0]


def test_differing_sizes_name_both_rows_and_how_to_resize(folder):
    _write(folder / TEST, [_encode(PIXELS[0]), _encode(PIXELS[0, :3])], [0, 1])
    message, hint = _two_lines(folder)
    assert f"{folder / TEST}, row 1, has 3x4 pixels" in message
    assert "has 5x4" in message
    assert "?size=4" in hint
    resized = load_images("hf-parquet:birds?size=4", folder)
    assert resized.shape == ImageShape(3, 4, 4)
    assert resized.name == "hf-parquet:birds?size=4"


@pytest.mark.parametrize("option", ["?size=0", "?size=big", "?size=-3", "?width=3", "?"])
def test_another_option_than_a_size_is_refused(folder, option):
    with pytest.raises(UsageError, match="size="):
        load_images(f"hf-parquet:birds{option}", folder)


def test_cifar10_is_read_from_parquet_files_if_they_are_there(folder):
    (folder / "birds").rename(folder / "cifar10")
    images = load_images("cifar10", folder)
    assert images.name == "cifar10"
    assert images.source == str(folder / "cifar10")
    with pytest.raises(UsageError, match="takes no argument"):
        load_images("cifar10:small", folder)


def test_the_real_cifar10_test_images_are_read(data_dir, tmp_path):
    # The test file stands for both parts: decoding all 60,000 images takes long.
    (source,) = (data_dir / "cifar10").glob("test-*.parquet")
    for part in ("train", "test"):
        (tmp_path / f"{part}-0.parquet").symlink_to(source)
    images = load_images(f"hf-parquet:{tmp_path}")
    assert images.shape == ImageShape(3, 32, 32)
    assert images.classes == 10
    assert images.test.labels.bincount().tolist() == [1000] * 10
