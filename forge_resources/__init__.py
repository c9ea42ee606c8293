"""With what it is made: everything that touches the outside, behind small interfaces."""

from forge_resources.allocation import reuse_freed_memory

reuse_freed_memory()
