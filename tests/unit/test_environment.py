import pytest

from harness.environment import fingerprint, int8_sums, source_digest


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        ("Xeon avx2 avx512f avx512_vnni", "32 bits"),
        ("Core avx2 avx_vnni", "32 bits"),
        ("Old avx2", "reduce_range"),
        ("arm64", "unknown"),
    ],
)
def test_the_int8_path_is_stated(processor: str, said: str) -> None:
    assert said in int8_sums(processor)


def test_the_fingerprint_names_versions_and_no_address() -> None:
    facts = fingerprint()
    assert {"discern", "python", "processor", "int8 sums", "numpy"} <= facts.keys()
    assert not any("@" in value or "/root" in value or "/home" in value for value in facts.values())


def test_the_code_has_one_digest() -> None:
    assert len(source_digest()) == 64
    assert source_digest() == source_digest()
