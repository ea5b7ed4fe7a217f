"""Errors that a user sees as a message."""

from dqn.errors import EnvFailed, UserError, WrongValue


def test_notebooks_print_the_message_alone():
    """IPython calls this method of an exception instead of formatting its traceback."""
    for error, line in (
        (UserError("a\x1b"), "UserError: a\\x1b"),
        (EnvFailed("b"), "EnvFailed: b"),
        (WrongValue("seed", None, "should be given"), "WrongValue: seed=null: should be given"),
    ):
        assert error._render_traceback_() == [line]
