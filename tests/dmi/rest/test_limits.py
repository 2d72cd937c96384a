from dmi.rest.limits import Rates


def test_a_bucket_fills_up_to_its_burst_and_no_further():
    rates = Rates(10, 2)
    assert [rates.wait("a", 0.0) for _ in range(3)] == [0, 0, 0.1]
    assert [rates.wait("a", 100.0) for _ in range(3)] == [0, 0, 0.1]


def test_no_rate_is_no_limit():
    rates = Rates(0, 0)
    assert not any(rates.wait("a", 0.0) for _ in range(10))


def test_those_who_are_silent_longest_are_forgotten():
    rates = Rates(1, 1)
    rates.wait("a", 0.0)
    for number in range(5000):
        rates.wait(str(number), 0.0)
    assert rates.wait("a", 0.0) == 0
    assert rates.wait("4999", 0.0) == 1
