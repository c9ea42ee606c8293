"""What may keep a gallery from being written."""

from forge_resources.errors import ForgeError


class GalleryError(ForgeError, ValueError):
    """A gallery cannot be made of what the lake holds, or of what was asked for."""
