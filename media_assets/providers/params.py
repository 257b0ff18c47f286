"""Parameters as models want them: the catalog's flat names become nested objects."""

from collections.abc import Mapping
from typing import Any

from media_assets.errors import RequestRejectedError


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with every ``a.b`` as the field ``b`` of the object ``a``, in the order given.

    Raises:
        RequestRejectedError: A name has an empty part, or stands both for a value and for an object; nothing was sent.
    """
    body: dict[str, Any] = {}
    objects: dict[str, dict[str, Any]] = {"": body}
    for name, value in params.items():
        *path, last = name.split(".")
        if not last or not all(path):
            message = f"the parameter {name!r} has an empty part in its name; nothing was sent"
            raise RequestRejectedError(message)
        place, where = body, ""
        for step in path:
            where = f"{where}.{step}"
            if where not in objects:
                objects[where] = _placed(place, step, {}, name)
            place = objects[where]
        _placed(place, last, value, name)
    return body


def _placed(place: dict[str, Any], field: str, value: Any, name: str) -> Any:
    if field in place:
        message = f"the parameter {name!r} takes the place of another one; nothing was sent"
        raise RequestRejectedError(message)
    place[field] = value
    return value
