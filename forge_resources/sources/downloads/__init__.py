"""Photos by their addresses: fetched safely, tried again, remembered."""

from forge_resources.sources.downloads.downloader import DownloadCounts, Downloader

__all__ = ["DownloadCounts", "Downloader"]
