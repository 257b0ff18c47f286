"""What is installed beside us may be used as we use it, and a list says so."""

import re

from media_assets_tests.licence_list import LIST, licence_of, locked_names

_NOT_HERE = "not installed on this platform"
_FREE = re.compile(r"MIT|Apache|BSD|ISC|MPL|Mozilla|PSF|Python Software Foundation|Zlib|CC0")
_NAMED_IN_NOTICE = {"psycopg2-binary"}


def _listed() -> dict[str, str]:
    rows = re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", LIST.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: licence for name, licence in rows if name != "package"}


def test_list_has_every_locked_package_with_its_licence() -> None:
    """A list that is not current is worse than none: somebody will rely on it."""
    listed = _listed()

    assert sorted(listed) == locked_names()
    for name, licence in listed.items():
        installed = licence_of(name)
        assert licence == _NOT_HERE or installed in {None, licence}, name


def test_every_licence_is_permissive_or_has_a_word_in_the_notice() -> None:
    """A new dependency under the GPL would change what users of the package may do."""
    notice = (LIST.parent.parent / "NOTICE").read_text(encoding="utf-8")
    others = {name for name, licence in _listed().items() if licence != _NOT_HERE and not _FREE.search(licence)}

    assert others <= _NAMED_IN_NOTICE
    assert all(name in notice for name in _NAMED_IN_NOTICE)
