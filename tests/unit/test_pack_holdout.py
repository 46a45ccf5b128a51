import hashlib

from dags.packs.holdout import held_out


def test_the_rule_is_the_documented_one():
    for entity_id in range(1, 1001):
        digest = hashlib.sha256(f"airlane-holdout:{entity_id}".encode()).digest()
        assert held_out(entity_id) == (int.from_bytes(digest[:8], "big") < 0.30 * 2**64)


def test_the_split_of_the_book_never_moves():
    out = [entity_id for entity_id in range(1, 1001) if held_out(entity_id)]
    assert len(out) == 295
    assert out[:10] == [3, 6, 8, 9, 13, 14, 15, 26, 29, 32]
