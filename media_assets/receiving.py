"""What was bought, once it is on this machine: looked at before anything is built on it. Called by ``purchase.py``."""

from collections.abc import Mapping
from pathlib import Path

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import Billed, MediaError, ProbeError, Rerun
from media_assets.media.look import look, look_from_afar
from media_assets.orders import Order
from media_assets.prediction import Prediction
from media_assets.prompt import Step
from media_assets.providers.transport import Transport
from media_assets.threads import in_thread

_KINDS: Mapping[Step, MediaKind] = {
    Step.IMAGE: MediaKind.IMAGE,
    Step.VIDEO: MediaKind.VIDEO,
    Step.AUDIO: MediaKind.AUDIO,
    Step.MERGED: MediaKind.VIDEO,
}

_WHAT: Mapping[Step, str] = {
    Step.IMAGE: "the picture",
    Step.VIDEO: "the clip",
    Step.AUDIO: "the voice",
    Step.MERGED: "the film",
}


async def received(
    transport: Transport, order: Order, prediction: Prediction, scratch: Path
) -> tuple[Path, MediaInfo, MediaError | None]:
    """Return what a prediction made, what it is, and why it is not good enough, if so. Free of charge.

    A file that cannot be read is not good enough, with what is known of it all the same.

    Args:
        transport: Brings it.
        order: What it was bought for.
        prediction: It has succeeded.
        scratch: A folder of this purchase alone.

    Raises:
        PurchaseError: It could not be brought; see :meth:`Transport.fetch`.
        ProbeError: It is no file; ``billed`` yes where that is what was paid for. Else nothing is said about it.
    """
    step = order.request.step
    is_own_file = prediction.outputs[0].path is not None
    path = await transport.fetch(prediction, order.spec, scratch)
    try:
        info, failed = await in_thread(look, path, order.question, what=_WHAT[step], from_outside=not is_own_file)
    except ProbeError as error:
        if is_own_file or error.rerun is Rerun.RESUME:
            raise
        known = await in_thread(look_from_afar, path, _KINDS[step])
        if known is None:
            # Words in the place of a medium: failed, so that nobody waits for it for ever.
            error.billed = Billed.YES
            raise
        return path, known, error
    return path, info, failed
