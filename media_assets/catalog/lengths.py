"""Lengths of one model's clips and tracks: what a request's parameters make, and the parameters for a wanted length."""

from collections.abc import Iterator, Mapping

from media_assets.catalog.spec import ModelSpec
from media_assets.prompt import Scalar

LENGTH_TOLERANCE = 0.10
"""A length that is off by at most this fraction is what was asked for; the rest is left to the merge."""


def length_of(spec: ModelSpec, params: Mapping[str, Scalar]) -> float | None:
    """Return how many seconds these parameters make; None where the length is not a parameter."""
    if spec.frames is not None:
        frames, fps = _frames(spec, params), _number(spec.value(params, spec.frames.fps))
        return frames / fps if frames is not None and fps else None
    if "length" in spec.roles:
        return _number(spec.value(params, spec.roles["length"]))
    return None


def length_param_value(spec: ModelSpec, length_s: float) -> Scalar:
    """Return ``length_s`` as the model's length parameter has it: 5.0 may be the number 5, or the text "5".

    Raises:
        ValueError: The model has no such parameter, or the parameter has no such value.
    """
    name = spec.roles.get("length")
    if name is None:
        message = f"{spec.id} has no parameter for a length in seconds"
        raise ValueError(message)
    param = spec.params.get(name)
    if param is None:
        return length_s
    for choice in param.enum:
        if _number(choice) == length_s:
            return choice
    return param.accept(f"{length_s:g}")


def params_for_length(spec: ModelSpec, wanted_s: float) -> dict[str, Scalar]:
    """Return the parameters that make a clip of ``wanted_s`` seconds, give or take 10 %.

    Where frames are counted, every length within 10 % is as good as another, and the fewest frames win, because more
    of them cost more; then the nearest length wins.

    Raises:
        ValueError: The model cannot make such a length; the message says which it can.
    """
    if spec.frames is not None:
        return _frame_params(spec, wanted_s)
    limits = spec.length_s
    if limits is None:
        message = f"the length of what {spec.id} makes cannot be chosen"
        raise ValueError(message)
    if limits.choices:
        length_s = min(limits.choices, key=lambda choice: (abs(choice - wanted_s), choice))
    else:
        length_s = min(max(wanted_s, limits.min), limits.max)
        param = spec.params.get(spec.roles.get("length", ""))
        length_s = round(length_s) if param is not None and param.type == "integer" else length_s
    if not _is_near(length_s, wanted_s):
        raise ValueError(_makes(spec, wanted_s))
    return {spec.roles["length"]: length_param_value(spec, length_s)} if "length" in spec.roles else {}


def _frame_params(spec: ModelSpec, wanted_s: float) -> dict[str, Scalar]:
    near = [way for way in _ways(spec) if _is_near(way[0] / way[1], wanted_s)]
    if not near:
        raise ValueError(_makes(spec, wanted_s))
    _, _, params = min(near, key=lambda way: (way[0], abs(way[0] / way[1] - wanted_s), way[1]))
    return params


def _ways(spec: ModelSpec) -> Iterator[tuple[int, int, dict[str, Scalar]]]:
    """Yield every (frames, frames per second, parameters) there is."""
    rule = spec.frames
    if rule is None:
        return
    for count in _counts(spec):
        for fps in _whole_range(spec, rule.fps):
            of_count = {} if rule.count is None else {rule.count: count}
            frames = _frames(spec, of_count)
            if frames is not None:
                yield frames, fps, {**of_count, rule.fps: fps}


def _counts(spec: ModelSpec) -> tuple[Scalar, ...] | range:
    rule = spec.frames
    if rule is None or rule.count is None:
        return (0,)
    return spec.params[rule.count].enum or _whole_range(spec, rule.count)


def _whole_range(spec: ModelSpec, name: str) -> range:
    param = spec.params[name]
    low, high = (_number(param.default) if end is None else end for end in (param.min, param.max))
    return range(int(low or 1), int(high or 1) + 1)


def _frames(spec: ModelSpec, params: Mapping[str, Scalar]) -> int | None:
    rule = spec.frames
    if rule is None or rule.fixed is not None or rule.count is None:
        return rule.fixed if rule else None
    value = spec.value(params, rule.count)
    if rule.counts:
        return rule.counts.get(str(value))
    number = _number(value)
    return int(number) if number is not None else None


def _makes(spec: ModelSpec, wanted_s: float) -> str:
    limits = spec.length_s
    if limits is not None and limits.choices:
        lengths = " or ".join(f"{choice:g}" for choice in limits.choices)
    elif limits is not None:
        lengths = f"{limits.min:g} to {limits.max:g}"
    else:
        every = [frames / fps for frames, fps, _ in _ways(spec)]
        lengths = f"{min(every):.3g} to {max(every):.3g}"
    return f"{spec.id} makes {lengths} s, not {wanted_s:g} s"


def _is_near(length_s: float, wanted_s: float) -> bool:
    return abs(length_s - wanted_s) <= LENGTH_TOLERANCE * wanted_s + 1e-9


def _number(value: Scalar | None) -> float | None:
    """Return the seconds or frames that a value means: 5, "5" and "5s" are five."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(str(value).strip().removesuffix("s"))
    except ValueError:
        return None
