"""The miniature corpora: stand-ins for GenImage that build themselves on any machine, the same to the bit."""

from harness.data.miniature.corpus import CONTENTS, GENERATORS, NOTE, Split, build, find, version_key

__all__ = ["CONTENTS", "GENERATORS", "NOTE", "Split", "build", "find", "version_key"]
