"""What all vision-language models have in common: what they are asked, and how photos are made ready for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forge_resources.errors import ForgeError


class VisionLanguageError(ForgeError, RuntimeError):
    """A vision-language model that cannot be asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question about one photo."""

    image: NDArray[np.uint8]
    """Shape (height, width, 3), RGB."""
    prompt: str


class VisionLanguageModel(Protocol):
    """A model that answers questions about photos; for one thread at a time."""

    @property
    def identity(self) -> str:
        """Backend, weights and their commit or hash; of a server, the name under which it lists the model."""
        ...

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Answer questions, each on its own, by the likeliest words.

        Returns:
            One reply a request, in their order, without blanks around it.

        Raises:
            VisionLanguageError: if the model cannot be asked.
        """
        ...


def shrunk(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """A photo whose longer side has at most `max_side` pixels; a smaller one is left as it is.

    Args:
        image: shape (height, width, 3), RGB.
        max_side: in pixels.
    """
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
