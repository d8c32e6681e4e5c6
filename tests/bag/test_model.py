"""The values a bag is made of."""

import pytest

from archiver.bag.model import BagInfo, Declaration, ManifestName, Oxum
from archiver.digest import ALGORITHMS


@pytest.mark.parametrize(
    ("version", "text", "is_1_0", "info_file"),
    [
        ((0, 93), "0.93", False, "package-info.txt"),
        ((0, 95), "0.95", False, "package-info.txt"),
        ((0, 96), "0.96", False, "bag-info.txt"),
        ((0, 97), "0.97", False, "bag-info.txt"),
        ((1, 0), "1.0", True, "bag-info.txt"),
        ((1, 1), "1.1", True, "bag-info.txt"),
    ],
)
def test_declaration(version: tuple[int, int], text: str, is_1_0: bool, info_file: str) -> None:
    declaration = Declaration(version, "UTF-8")
    assert declaration.version_text == text
    assert declaration.is_1_0 is is_1_0
    assert declaration.info_file == info_file


@pytest.mark.parametrize("text", ["0.0", "12.3", "9" * 30 + ".1"])
def test_oxum_round_trip(text: str) -> None:
    assert str(Oxum.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1.2.3", "-1.2", "1.2 ", "1.2\n", "9" * 31 + ".1"]
)
def test_malformed_oxum(text: str) -> None:
    assert Oxum.parse(text) is None


def test_bag_info_keeps_order_and_repeats() -> None:
    info = BagInfo((("A", "1"), ("b", "2"), ("a", "3")))
    assert info.all("a") == ["1", "3"]
    assert (info.first("B"), info.first("none")) == ("2", None)
    assert list(info.with_elements([("C", "4")])) == [*info, ("C", "4")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("tag", ["", "tag"])
def test_manifest_names(algorithm: str, tag: str) -> None:
    file = f"{tag}manifest-{algorithm}.txt"
    name = ManifestName.parse(file)
    assert name == ManifestName(file, algorithm, bool(tag))
    assert name.algorithm is ALGORITHMS[algorithm]
    assert ManifestName.looks_like_one(file)


def test_an_algorithm_we_do_not_know() -> None:
    name = ManifestName.parse("manifest-whirlpool.txt")
    assert name is not None
    assert name.algorithm is None


@pytest.mark.parametrize(
    "file",
    [
        "manifest-SHA256.txt",
        "manifest-.txt",
        "Manifest-md5.txt",
        "manifest-sha3_256.txt",
        "manifest-md5.txt\n.txt",
        "manifest-\N{ARABIC-INDIC DIGIT ONE}.txt",
    ],
)
def test_names_meant_as_manifests(file: str) -> None:
    assert ManifestName.parse(file) is None
    assert ManifestName.looks_like_one(file)


@pytest.mark.parametrize(
    "file", ["manifest.txt", "xmanifest-md5.txt", "manifest-md5.txt~", "a/manifest-md5.txt"]
)
def test_other_names(file: str) -> None:
    assert ManifestName.parse(file) is None
    assert not ManifestName.looks_like_one(file)
