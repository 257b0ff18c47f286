"""``python -m media_assets_tests.simulation SEED``: play the schedule of a seed again, and print what happens in it."""

import sys

from media_assets_tests.simulation.desk import open_desk
from media_assets_tests.simulation.schedule import play


def main(arguments: list[str]) -> int:
    """Print the trace of each seed; 1 where an invariant does not hold."""
    broken = 0
    with open_desk() as desk:
        for seed in arguments:
            world = play(desk, int(seed))
            print("\n".join(world.trace))
            broken += world.violation is not None
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
