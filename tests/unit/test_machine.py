"""Machines described in a few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qltui.facts import machine
from qltui.facts.cards import AMD, CARDS, STAND_INS, Known
from qltui.facts.machine import UnknownMachine, as_text, parse

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "nodes", "names"),
    [
        ("4xA40", 1, ["A40"] * 4),
        ("4xA40-48", 1, ["A40"] * 4),
        ("A40", 1, ["A40"]),
        (" 4 X a40 ", 1, ["A40"] * 4),
        ("8xH100-80", 1, ["H100 SXM"] * 8),
        ("2n8xH100-80", 2, ["H100 SXM"] * 8),
        ("2 nodes 8 x h100-80GB", 2, ["H100 SXM"] * 8),
        ("H100-94", 1, ["H100 NVL"]),
        ("A100-40", 1, ["A100 SXM 40GB"]),
        ("A100-SXM-80", 1, ["A100 SXM 80GB"]),
        ("A100 PCIe-40", 1, ["A100 PCIe 40GB"]),
        ("NVIDIA A100-SXM4-80GB", 1, ["A100 SXM 80GB"]),
        ("A100-80GB-SXM4", 1, ["A100 SXM 80GB"]),
        ("2xH100 80GB PCIe", 1, ["H100 PCIe"] * 2),
        ("4xRTX PRO 6000 Blackwell 96G", 1, ["RTX PRO 6000"] * 4),
        ("V100-32", 1, ["V100 32GB"]),
        ("B200-192", 1, ["B200"]),
        ("2x3090", 1, ["RTX 3090"] * 2),
        ("rtx4070tisuper", 1, ["RTX 4070 Ti SUPER"]),
        ("2xRTX 4060 Ti-16", 1, ["RTX 4060 Ti 16GB"] * 2),
        ("NVIDIA GeForce RTX 4090", 1, ["RTX 4090"]),
        ("RTX 6000 Ada", 1, ["RTX 6000 Ada"]),
        ("A6000", 1, ["RTX A6000"]),
        ("Quadro RTX 6000", 1, ["Quadro RTX 6000"]),
        ("2x24G", 1, ["24 GB"] * 2),
        ("1xA40+1x24G", 1, ["A40", "24 GB"]),
        ("cpu", 1, []),
        ("3nCPU", 3, []),
    ],
)
def test_a_machine_is_described_in_a_few_characters(text: str, nodes: int, names: list[str]) -> None:
    found = parse(text)
    assert found.nodes == nodes
    assert [card.name for card in found.cards] == names
    assert (found.gpus_per_node, found.gpus) == (len(names), nodes * len(names))


@pytest.mark.parametrize(
    ("text", "nodes", "gpus", "gigabytes"),
    [
        ("4xA40,host=16G", 1, 4, 16),
        ("2n8xH100-80, host=1000 GiB", 2, 16, 1000),
        ("1xA40+1x24G; HOST: 15.5gb", 1, 2, 15.5),
        ("cpu host 8G", 1, 0, 8),
        ("4xA40", 1, 4, None),
    ],
)
def test_the_memory_of_the_host_is_described(text: str, nodes: int, gpus: int, gigabytes: float | None) -> None:
    found = parse(text)
    assert (found.nodes, found.gpus) == (nodes, gpus)
    assert found.host_memory == (gigabytes and gigabytes * GIB)
    assert found.host_available is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing is named"),
        ("4xA4O", "the table has no card 'A4O'. Did you mean A40"),
        ("4xA40-80", "A40 has 48 GB, not 80"),
        ("A100-64", "A100 has 40 or 80 GB, not 64"),
        ("RTX 6000-48", "Quadro RTX 6000 has 24 GB, not 48. Did you mean RTX 6000 Ada or RTX A6000?"),
        ("2x24", "24 is neither a card nor a size. Did you mean 24G?"),
        ("4x", "a card's name is missing"),
        ("1xA40+", "a card's name is missing"),
        ("2n", "a card's name is missing"),
        ("0xA40", "1 to 64 GPUs, not 0"),
        ("-2xA40", "1 to 64 GPUs, not -2"),
        ("999xA40", "1 to 64 GPUs, not 999"),
        ("60xA40+5xA40", "65 GPUs in a node are more than 64"),
        ("0n8xA40", "1 to 1024 nodes, not 0"),
        ("1" * 5000 + "xA40", "1 to 64 GPUs, not 111111111…"),
        ("2x0G", "a card has 1 to 1024 GB, not 0"),
        ("2x9999G", "a card has 1 to 1024 GB, not 9999"),
        ("4xcpu", "cpu stands alone"),
        ("cpu+1xA40", "cpu stands alone"),
        ("4xA40,host=16", "the host's memory is written as host=64G"),
        ("4xA40 host", "the host's memory is written as host=64G"),
        ("4xA40,host=0G", "the host's memory is written as host=64G"),
        (" host=16G", "nothing is named"),
        ("8xMI300X", "MI300X runs no CUDA, which training needs here; for its memory alone give 192G"),
    ],
)
def test_what_is_no_machine_gets_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(UnknownMachine) as raised:
        parse(text)
    message = str(raised.value)
    assert said in message
    assert message.endswith("or cpu.")
    assert "\n" not in message
    assert len(message) < 260
    assert raised.value.text == text


@given(st.text(alphabet="0123456789nxXG-+. \tAa40HRTcpu×²٣,host=", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_machine_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UnknownMachine as error:
        assert "\n" not in str(error)
    else:
        assert found.nodes >= 1
        assert all(card.memory_bytes > 0 and card.flops > 0 for card in found.cards)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("4xA40", "4xA40"),
        ("2n8xH100-80", "2n8xH100 SXM"),
        ("1xA40+2x24G+1xA40", "2xA40+2x24G"),
        ("rtx4070tisuper", "1xRTX 4070 Ti SUPER"),
        ("3x47G", "3x47G"),
        ("cpu", "cpu"),
        ("3ncpu", "3ncpu"),
    ],
)
def test_a_machine_is_told_as_it_is_described(text: str, short: str) -> None:
    assert as_text(parse(text)) == short


@pytest.mark.parametrize("row", CARDS, ids=lambda row: row.name)
def test_what_is_told_of_a_card_means_that_card(row: Known) -> None:
    card = parse(row.name).cards[0]
    assert parse(as_text(parse(f"2x{row.name}"))).cards == (card, card)


def test_every_name_of_the_table_finds_a_row_of_that_name() -> None:
    by_name = {row.name: row for row in CARDS}
    assert len(by_name) == len(CARDS)
    for row in CARDS:
        assert parse(row.name).cards[0].name == row.name
        for name in row.others:
            found = by_name[parse(name).cards[0].name]
            assert machine.key(name) in map(machine.key, (found.name, *found.others))
            if "GB" not in name:
                (card,) = parse(f"{name}-{row.gigabytes}").cards
                assert by_name[card.name].gigabytes == row.gigabytes
    assert set(STAND_INS) <= set(by_name)
    assert not {machine.key(name) for name in AMD} & set(machine.known_cards())


def test_the_figures_of_the_table_fit_each_other() -> None:
    """What a slip of the pen would break: units, sparse instead of dense flops, nominal instead of real memory."""
    for row in CARDS:
        usable = (row.total - row.reserved) / 1024
        assert 0.89 * row.gigabytes < usable <= min(row.gigabytes * 1.001, row.total / 1024), row.name
        assert 100 <= row.bandwidth <= 8000, row.name
        assert 15 <= row.flops <= 2500, row.name
        assert row.link <= row.bandwidth / 5, row.name


@pytest.mark.parametrize(
    ("text", "gib", "capability"),
    [  # what PyTorch said CUDA sees on them, rounded
        ("A40", 44.4, (8, 6)),
        ("A100-80", 79.2, (8, 0)),
        ("H100", 79.1, (9, 0)),
        ("H200", 139.7, (9, 0)),
        ("RTX 4090", 23.6, (8, 9)),
        ("RTX 3090", 23.7, (8, 6)),
        ("T4", 14.6, (7, 5)),
        ("B200", 178.4, (10, 0)),
        ("RTX PRO 6000", 95.0, (12, 0)),
    ],
)
def test_memory_is_what_cuda_can_use(text: str, gib: float, capability: tuple[int, int]) -> None:
    (card,) = parse(text).cards
    assert card.memory_bytes / GIB == pytest.approx(gib, rel=0.003)
    assert card.capability == capability


def test_a_size_alone_takes_a_common_cards_figures_and_says_so() -> None:
    found = parse("2x24G")
    like = parse("RTX 3090").cards[0]
    assert found.cards[0]._replace(name="RTX 3090") == like
    assert found.notes == ("24G names no card: its speed is taken to be that of RTX 3090.",)
    assert found.peer_access is None
    assert parse("22.5G").cards[0].memory_bytes < like.memory_bytes


def test_an_ambiguous_name_is_said_to_be() -> None:
    assert "A100 is taken as A100 SXM 80GB; the table also has A100 SXM 40GB" in parse("2xA100+1xA100").notes[0]
    assert len(parse("2xA100+1xA100").notes) == 1
    assert parse("4xA40").notes == ()


@pytest.mark.parametrize(
    ("text", "peers"),
    [("8xH100", True), ("2x4090", False), ("2xA40", None), ("H100", None), ("1xH100+1xA100", None), ("2x24G", None)],
)
def test_who_reaches_whose_memory(text: str, peers: bool | None) -> None:
    assert parse(text).peer_access is peers
