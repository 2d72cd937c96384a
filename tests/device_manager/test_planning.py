from device_manager.changes import ChangeLog
from device_manager.desired import Desired
from device_manager.known import Known
from device_manager.planning import Planner
from dmi.feed import Feed
from tests.device_manager.plants import device, model


def plan_of(devices):
    desired = Desired()
    planner = Planner(desired, Known(Feed(), desired.declared), ChangeLog(0))
    models = {model().key: model()}
    return planner.plan("test", models, {item.key: item for item in devices}, 1.0)


def test_every_twin_is_written_once_however_many_devices_come_together():
    few, many = (plan_of([device(f"pump-{i}") for i in range(n)]) for n in (1, 30))

    def twins(plan):
        return [params for sql, params in plan.statements if sql.startswith("INSERT INTO twin")]

    assert len(twins(few)) == 2
    assert len(twins(many)) == len(set(twins(many))) == 60
