import anyio, pytest
from asyncjobs.testing import ManualClock
from tests.runtime.support import *
pytestmark = pytest.mark.anyio
@pytest.mark.parametrize("option", [1,2,3])
async def test_x(stores, option) -> None:
    clock = ManualClock()
    print("start")
    async with stores.processor(clock=clock) as jp:
        s=jp._daemon.scheduler; w=jp._daemon.worker
        def state(): print(s._next_due, clock.now(), w.free, w._reserved, w._asked, clock._timeouts, clock._sleepers,  s._signal._event.is_set(), w.running)
        with anyio.move_on_after(1) as a:
            handle = await jp.submit_job(echo, 1, delay=60)
            print("submitted")
            await jp.get_job(handle)
            clock.advance(59)
            await (await jp.submit_job(nothing))  # the scheduler has looked, and left it
            print("nothing done")
            state()
            clock.advance(1.1)
            state()
            assert await handle == 1
        if a.cancelled_caught:
            state()
            print(await jp.why(handle))
            assert 0
        print("leaving")
    print("left")
