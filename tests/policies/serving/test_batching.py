"""Batches of requests, without a network."""

import asyncio

from served import Walker, in_process, observation

from policies.serving.batching import Batcher


def arrays(number):
    return {key: value for key, value in observation(number).items() if key != "prompt"}


def test_requests_of_one_slot_never_share_a_batch_and_keep_their_order():
    async def ask():
        batcher = Batcher(policy, rows=8)
        pump = asyncio.create_task(batcher.run())
        asked = [
            batcher.submit(3, arrays(0), (7, "go")),
            batcher.submit(3, arrays(1)),
            batcher.submit(0, arrays(0), (8, "go")),
            batcher.submit(3, arrays(0), (9, "go")),  # the slot has a new episode, while the old one is still asked for
        ]
        answers = [(await each).actions.tobytes() for each in asked]
        pump.cancel()
        await batcher.close(5)
        return answers

    policy = Walker()
    old, (other,), (new,) = in_process(7, 2), in_process(8, 1), in_process(9, 1)
    assert asyncio.run(ask()) == [each.tobytes() for each in (*old, other, new)]
    assert policy.batches == [2, 1, 1]
