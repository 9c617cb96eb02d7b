"""The proof of one record: whatever was done to it, or to a neighbour, shows."""

from joserfc.jwk import ECKey
from sqlalchemy import Engine

from gateway.store.proof import Proof, proof
from gateway.wire.tokens import Signer
from tests.store.databases import Databases, chain

LENGTH = 5
SIGNER = Signer(ECKey.generate_key("P-256", auto_kid=True))


def proved(engine: Engine, seq: int) -> Proof:
    with engine.connect() as connection, connection.begin():
        found = proof(connection, seq)
    assert found is not None
    return found


def changed(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def test_every_record_of_a_chain_is_proved_the_first_and_the_last_too(databases: Databases) -> None:
    engine = databases.engine()
    chain(engine, SIGNER, LENGTH)
    for seq in range(1, LENGTH + 1):
        found = proved(engine, seq)
        assert found.holds, seq
        assert (found.before is None, found.after is None) == (seq == 1, seq == LENGTH)
    with engine.connect() as connection, connection.begin():
        assert proof(connection, LENGTH + 1) is None


def test_what_was_changed_shows_at_the_record_and_at_those_beside_it(databases: Databases) -> None:
    engine = databases.engine()
    chain(engine, SIGNER, LENGTH)
    changed(engine, "UPDATE ledger SET outcome = 'allow' WHERE seq = 1")
    assert [proved(engine, seq).unchanged for seq in (1, 2)] == [False, True]
    changed(engine, "UPDATE ledger SET hash = zeroblob(32) WHERE seq = 3")
    shown = {seq: proved(engine, seq) for seq in (2, 3, 4)}
    assert shown[2].holds
    assert (shown[3].unchanged, shown[3].followed, shown[4].follows) == (False, False, False)
    assert not any(shown[seq].holds for seq in (3, 4))


def test_a_removed_neighbour_and_a_cut_off_end_show(databases: Databases) -> None:
    engine = databases.engine()
    chain(engine, SIGNER, LENGTH)
    changed(engine, "DELETE FROM ledger WHERE seq = 2")
    assert not proved(engine, 3).follows
    assert not proved(engine, 1).followed
    changed(engine, f"DELETE FROM ledger WHERE seq = {LENGTH}")
    assert not proved(engine, LENGTH - 1).followed
