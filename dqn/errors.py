"""What a user is told without a traceback."""


class UserError(Exception):
    """A mistake or a condition that the user can mend; its text says how."""
