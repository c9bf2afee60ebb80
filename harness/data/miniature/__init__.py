"""The miniature corpus: a stand-in for GenImage that builds itself on any machine, the same to the bit."""

from harness.data.miniature.corpus import GENERATORS, NOTE, Split, build, find, version_key

__all__ = ["GENERATORS", "NOTE", "Split", "build", "find", "version_key"]
