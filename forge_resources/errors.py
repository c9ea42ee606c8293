"""The one base of all errors that a user can mend."""


class ForgeError(Exception):
    """Something that is wrong outside the code; the message says what, and what to do about it.

    The commands show the message alone; anything else that is raised is a bug and keeps its traceback.
    """
