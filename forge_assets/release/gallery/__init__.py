"""A page of pairs for people: static, in one folder, opened from disk."""

from forge_assets.release.gallery.errors import GalleryError
from forge_assets.release.gallery.page import IMAGES, PAGE, write_gallery
from forge_assets.release.gallery.sample import Sample

__all__ = ["IMAGES", "PAGE", "GalleryError", "Sample", "write_gallery"]
