"""Artifacts as a representation: an image minus its nearest real neighbour, in a space."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import model_validator

from harness.errors import CardError, problem
from harness.fingerprints.reference import Reference
from harness.fingerprints.representation import Make, Representation
from harness.fingerprints.spaces import Embed, Features, Images, SpaceName, features


class Artifact(Representation):
    """What an image has beyond its nearest real neighbour, x - x* (ManiFPT, arXiv 2402.10401): float32 (n, 3, height,
    width), of embeddings (n, dimensions). Real images are never their own neighbours."""

    name = "artifact"
    space: SpaceName
    embedder: str | None = None

    @model_validator(mode="after")
    def _embedder_of_embeddings(self) -> Artifact:
        if (self.space == "embedding") != (self.embedder is not None):
            raise ValueError("space embedding needs an embedder, the others take none")
        return self

    def bind(self, references: Sequence[Reference] = (), embed: Embed | None = None) -> Make:
        """Return what makes artifacts, given the reference of this space among some.

        Raises:
            CardError: not exactly one of them is of this space and embedder.
        """
        mine = [item for item in references if self.fits(item)]
        if len(mine) != 1:
            given = ", ".join(sorted(item.about.basis.space for item in references)) or "none"
            do = "Fit it: harness fingerprints fit SUITE"
            raise CardError(problem(self.id, "one reference of this space", f"{len(mine)} among: {given}", do))

        def make(images: Images) -> Features:
            return mine[0].artifacts(features(self.space, images, embed), images)

        return make

    def fits(self, reference: Reference) -> bool:
        """Whether a reference is of this space and embedder."""
        return (reference.about.basis.space, reference.about.embedder) == (self.space, self.embedder or "")
