"""Addresses of outputs that no honest provider sends: the forms in which people have tried to turn a downloader."""

from dataclasses import dataclass
from typing import Final

SECRET: Final = "CANARY-4f1c"  # noqa: S105
"""In every path, query and user name below: none of them may be shown."""

_TAIL: Final = f"/{SECRET}.png?X-Signature={SECRET}"


@dataclass(frozen=True)
class Form:
    """One address."""

    url: str
    """With ``{port}`` for that of the canary on this machine and ``{host}`` for a host of the provider's outputs."""
    words: str
    """What the refusal must say, filled in alike; empty where the address is not even one."""
    tail: str = _TAIL

    def filled(self, *, port: int, host: str) -> str:
        """Return the address."""
        return self.url.format(port=port, host=host) + self.tail

    def reason(self, *, port: int, host: str) -> str:
        """Return the words."""
        return self.words.format(port=port, host=host)


_NUMBER: Final = "{} is an IP address, not a name"
_ODD: Final = "{} is an odd form of an IP address"
_STRANGER: Final = "{} is no known host for this provider's outputs"
_PORT: Final = "port {{port}} of {} is not 443"

FORMS: Final[dict[str, Form]] = {
    "loopback": Form("https://127.0.0.1:{port}", _NUMBER.format("127.0.0.1")),
    "loopback_http": Form("http://127.0.0.1:{port}", "it is http, not https, at 127.0.0.1"),
    "localhost": Form("https://localhost:{port}", _PORT.format("localhost")),
    "localhost_http": Form("http://localhost:{port}", "it is http, not https, at localhost"),
    "localhost_dot": Form("https://localhost.:{port}", _PORT.format("localhost")),
    "short": Form("https://127.1:{port}", _ODD.format("127.1")),
    "hexadecimal": Form("https://0x7f000001:{port}", _ODD.format("0x7f000001")),
    "octal": Form("https://0177.0.0.1:{port}", _ODD.format("0177.0.0.1")),
    "decimal": Form("https://2130706433:{port}", _ODD.format("2130706433")),
    "zero": Form("https://0.0.0.0:{port}", _NUMBER.format("0.0.0.0")),  # noqa: S104
    "number_dot": Form("https://127.0.0.1.:{port}", _NUMBER.format("127.0.0.1")),
    "circled": Form("https://①②⑦.⓪.⓪.①:{port}", _NUMBER.format("127.0.0.1")),
    "ideographic_dots": Form("https://127。0。0。1:{port}", _NUMBER.format("127.0.0.1")),
    "v6": Form("https://[::1]:{port}", _NUMBER.format("::1")),
    "v6_mapped": Form("https://[::ffff:127.0.0.1]:{port}", _NUMBER.format("::ffff:7f00:1")),
    "v6_mapped_metadata": Form("https://[::ffff:169.254.169.254]", _NUMBER.format("::ffff:a9fe:a9fe")),
    "v6_nat64": Form("https://[64:ff9b::a9fe:a9fe]", _NUMBER.format("64:ff9b::a9fe:a9fe")),
    "v6_metadata": Form("https://[fd00:ec2::254]", _NUMBER.format("fd00:ec2::254")),
    "metadata": Form("https://169.254.169.254", _NUMBER.format("169.254.169.254")),
    "metadata_http": Form("http://169.254.169.254", "it is http, not https, at 169.254.169.254"),
    "metadata_name": Form("https://metadata.google.internal", _STRANGER.format("metadata.google.internal")),
    "carrier_nat": Form("https://100.64.0.1", _NUMBER.format("100.64.0.1")),
    "public_number": Form("https://93.184.216.34", _NUMBER.format("93.184.216.34")),
    "own_host_http": Form("http://{host}", "it is http, not https, at {host}"),
    "own_host_port_22": Form("https://{host}:22", "port 22 of {host} is not 443"),
    "own_host_canary_port": Form("https://{host}:{port}", _PORT.format("{host}")),
    "user": Form("https://{host}@127.0.0.1:{port}", "it holds a user name"),
    "user_and_password": Form(f"https://{SECRET}:{SECRET}@{{host}}", "it holds a user name"),
    "user_escaped": Form("https://{host}%40127.0.0.1:{port}", "it has no valid host and port"),
    "fragment_first": Form("https://127.0.0.1:{port}#@{host}", "it has a fragment, at 127.0.0.1"),
    "fragment_last": Form("https://{host}#@127.0.0.1:{port}", "it has a fragment, at {host}"),
    "query_at": Form("https://127.0.0.1:{port}?@{host}", _NUMBER.format("127.0.0.1")),
    "longer_host": Form("https://{host}.evil.test", _STRANGER.format("{host}.evil.test")),
    "prefixed_host": Form("https://evil{host}", _STRANGER.format("evil{host}")),
    "cyrillic": Form("https://fаl.media", _STRANGER.format("xn--fl-7kc.media")),
    "backslash": Form("https://127.0.0.1:{port}\\@{host}", ""),
    "line_break": Form("https://{host}\r\nHost: 127.0.0.1:{port}", ""),
    "tab": Form("\thttps://127.0.0.1:{port}", ""),
    "no_scheme": Form("//127.0.0.1:{port}", ""),
    "one_slash": Form("https:/127.0.0.1:{port}", ""),
    "gopher": Form("gopher://127.0.0.1:{port}", ""),
    "ftp": Form("ftp://127.0.0.1:{port}", ""),
    "file": Form("file:///etc/passwd", "", tail=""),
    "jar": Form("jar:https://127.0.0.1:{port}/!", ""),
}
"""Where a provider's prediction says its output is. Those of reliability's list that only a name server can play, with
the right name and a private address, are in the tests themselves; so is ``data:``, which is no address."""
