"""Which keys can be used: exactly those that the wire takes, so that no plan passes what a submit refuses."""

import pytest

from media_assets.errors import ConfigurationError
from media_assets.providers.keys import key_problem
from media_assets.providers.registry import KEY_VARIABLES, build_adapters
from media_assets.providers.transport.wire import check_headers

_CHARACTERS = [chr(number) for number in (*range(0x250), 0x2013, 0x2019, 0x200B, 0x2028, 0xFEFF, 0xDCFF, 0x1F600)]


def _is_sent(provider: str, key: str) -> bool:
    try:
        check_headers(build_adapters()[provider].auth_headers(key))
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("provider", list(KEY_VARIABLES))
@pytest.mark.parametrize("form", ["{}", "a{}", "{}a", "a{}b"])
def test_a_key_without_a_problem_can_be_sent(provider: str, form: str) -> None:
    """Two rules that drift apart would let a chain begin that cannot end."""
    keys = [form.format(character) for character in _CHARACTERS]
    usable = [key for key in keys if key_problem("X", key) is None]

    assert usable == [form.format(chr(number)) for number in range(0x21, 0x7F)]
    assert all(_is_sent(provider, key) for key in usable)


def test_a_problem_names_the_variable_and_each_fault_once() -> None:
    """One look has to be enough to mend it; the key itself is nobody's business."""
    assert key_problem("FAL_KEY", "\n ") == "FAL_KEY is not set"
    assert key_problem("FAL_KEY", "a b\nc d\u2019\x01") == (
        "FAL_KEY holds white space and a line break and a character that is not ASCII and a control character; "
        "copy the key into it again"
    )
