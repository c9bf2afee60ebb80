"""The miniature corpora: stand-ins for GenImage that build themselves on any machine, the same to the bit."""

from harness.data.miniature.contents import ATTRIBUTION, CONTENTS, GENERATORS, NOTE, Content, Split
from harness.data.miniature.corpus import build, find, version_key

__all__ = ["ATTRIBUTION", "CONTENTS", "GENERATORS", "NOTE", "Content", "Split", "build", "find", "version_key"]
