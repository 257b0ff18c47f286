"""Whether a key can be used, told without showing any of it."""


def key_problem(variable: str, key: str) -> str | None:
    """Return why a key cannot be sent, and what to do; None when it can.

    Asked before anything is bought: a key that no HTTP header can carry would fail only when it is its step's turn.

    Args:
        variable: The environment variable that holds the key.
        key: Its value; blank is the same as none.
    """
    if not key.strip():
        return f"{variable} is not set"
    faults = dict.fromkeys(fault for character in key if (fault := _fault_of(character)))
    return f"{variable} holds {' and '.join(faults)}; copy the key into it again" if faults else None


def _fault_of(character: str) -> str | None:
    if not character.isascii():
        return "a character that is not ASCII"
    if character in "\r\n":
        return "a line break"
    if character in " \t":
        return "white space"
    return None if character.isprintable() else "a control character"
