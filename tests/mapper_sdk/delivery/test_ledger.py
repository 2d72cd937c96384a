from dmi.resources import Key
from mapper_sdk.delivery.ledger import Ledger, Loss, losses_of

DEV = Key("default", "dev")


def loss(first, last=None, count=1, property_="p", reason="r"):
    return Loss(DEV, property_, first, first if last is None else last, count, reason)


def spans(ledger):
    return [(gap.property, gap.first, gap.last, gap.count, gap.reason) for gap in ledger.gaps()]


def test_items_are_counted_by_property(make):
    one, two = make.route("a"), make.route("b", "other")
    items = make.items(one, make.readings(3)) + make.items(two, make.readings(2, step=-1.0))
    a, b = losses_of(items, "why")
    assert a == Loss(DEV, "a", make.start, make.start + 2, 3, "why")
    assert b == Loss(Key("default", "other"), "b", make.start - 1, make.start, 2, "why")


def test_what_follows_becomes_one_interval():
    ledger = Ledger("t")
    ledger.note([loss(0), loss(5)], 1.0)
    ledger.note([loss(14)], 2.0)
    assert spans(ledger) == [("p", 0, 14, 3, "r")]
    (gap,) = ledger.gaps()
    assert (gap.target, gap.device, gap.noted) == ("t", DEV, 2.0)
    assert ledger.lost == {"r": 3}


def test_what_lies_apart_stays_apart_and_so_do_properties_and_reasons():
    ledger = Ledger("t")
    ledger.note([loss(0), loss(100), loss(0, property_="q"), loss(1, reason="s")], 1.0)
    assert spans(ledger) == [
        ("p", 0, 0, 1, "r"),
        ("p", 100, 100, 1, "r"),
        ("q", 0, 0, 1, "r"),
        ("p", 1, 1, 1, "s"),
    ]
    ledger.note([loss(104)], 2.0)  # goes on where the newest interval ends
    assert spans(ledger)[1] == ("p", 100, 104, 2, "r")


def test_slow_properties_are_judged_by_their_own_pace():
    ledger = Ledger("t")
    ledger.note([loss(0, 540, 10)], 1.0)  # one a minute
    ledger.note([loss(600, 1140, 10)], 2.0)
    assert spans(ledger) == [("p", 0, 1140, 20, "r")]


def test_a_loss_in_the_middle_of_an_interval_is_part_of_it():
    ledger = Ledger("t")
    ledger.note([loss(0, 100, 5)], 1.0)
    ledger.note([loss(50)], 2.0)
    assert spans(ledger) == [("p", 0, 100, 6, "r")]


def test_a_full_ledger_still_counts_everything():
    ledger = Ledger("t", limit=3)
    for n in range(10):
        ledger.note([loss(n * 1000)], 1.0)
    ledger.note([loss(0, property_="new")], 1.0)
    assert spans(ledger) == [
        ("p", 0, 0, 1, "r"),
        ("p", 1000, 1000, 1, "r"),
        ("p", 2000, 9000, 8, "r"),
        ("new", 0, 0, 1, "r"),
    ]


def test_nothing_changes_before_it_is_accepted():
    ledger = Ledger("t")
    changed = ledger.staged([loss(0)], 1.0)
    assert (len(ledger), ledger.lost) == (0, {})
    ledger.accept(changed, [loss(0)])
    assert (len(ledger), ledger.lost) == (1, {"r": 1})


def test_what_a_disk_kept_comes_before_what_was_noted_already():
    kept = Ledger("t")
    kept.note([loss(0), loss(100)], 1.0)
    ledger = Ledger("t")
    ledger.note([loss(500)], 2.0)
    renumbered = ledger.load(dict(enumerate(kept.gaps(), 1)))
    assert list(renumbered) == [3]
    assert [gap.first for gap in ledger.gaps()] == [0, 100, 500]
    assert ledger.lost == {"r": 1}
    assert list(ledger.note([loss(900)], 3.0)) == [4]
