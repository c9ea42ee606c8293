"""The commands around named releases: `forge release`, `forge images`, `forge diff`."""

import typer

app = typer.Typer()
