"""With what it is made: everything that touches the outside, behind small interfaces."""
