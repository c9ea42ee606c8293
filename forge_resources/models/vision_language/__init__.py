"""Vision-language models, asked about photos: on this machine, or behind a server."""
