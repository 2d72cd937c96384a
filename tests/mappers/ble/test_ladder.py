from mappers.ble.ladder import Ladder, Rung


def test_the_ladder_is_climbed_step_by_step_and_left_on_success():
    ladder = Ladder((Rung.CLEAN_LINKS, Rung.RESTART_SCAN, Rung.REOPEN), 2)
    climbed = [ladder.fail() for _ in range(8)]
    assert climbed == [
        *(None, Rung.CLEAN_LINKS),
        *(None, Rung.RESTART_SCAN),
        *(None, Rung.REOPEN),
        *(None, Rung.CLEAN_LINKS),
    ]
    ladder.succeed()
    assert [ladder.fail(), ladder.fail()] == [None, Rung.CLEAN_LINKS]
