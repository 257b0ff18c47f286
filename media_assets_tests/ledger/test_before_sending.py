"""The last look before money leaves: who has lost the lock between the intent and the first byte sends nothing."""

import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from media_assets.errors import LedgerError
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.ledger.far_host import owned_by
from media_assets_tests.postgres_server import Server
from media_assets_tests.web_shop import open_web_shop

_CUT_WITH_THE_INTENT = """
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND pid <> pg_backend_pid();
    RETURN NULL;
END $$;
CREATE TRIGGER cut AFTER INSERT ON attempt FOR EACH ROW EXECUTE FUNCTION cut();
"""


def test_nothing_leaves_when_the_lock_is_lost_after_the_intent(server: Server, migrated: str, tmp_path: Path) -> None:
    """Another host may find the lock free from now on; what was not sent is known not to have been, and sent later."""
    database = str(make_url(migrated).database)
    with open_web_shop(tmp_path, ledger_url=migrated, ownership=owned_by("here", lease_s=600)) as shop:
        server.run(_CUT_WITH_THE_INTENT, database)

        with pytest.raises(LedgerError, match="nothing is sent"):
            shop.buy()

        assert (shop.service.submits, shop.outcomes(), shop.row().state) == (0, ["unsent"], PurchaseState.FAILED_FREE)
        assert shop.row().cost_micro_usd == 0
        server.run("DROP TRIGGER cut ON attempt", database)
        shop.buy()
        assert (shop.service.submits, shop.outcomes()) == (1, ["unsent", "accepted"])


def test_nothing_leaves_long_after_its_intent(tmp_path: Path) -> None:
    """Whoever reckons with a lost submission counts from the intent; a sleeping laptop must not send after that."""
    owner = Owner(tmp_path)
    in_time, late = owner.permit(60), owner.permit(0.01)
    time.sleep(0.02)

    in_time()
    with pytest.raises(LedgerError, match="not sent"):
        late()
    owner.close()
