"""The one exception that means: the user's input is wrong, and here is what to do about it."""


class InputError(ValueError):
    """Bad input: a wrong value, path, column or address.

    The message is one line that names the value, what was allowed and what to do. Command lines and
    components turn it into exit code 2 without a traceback.
    """
