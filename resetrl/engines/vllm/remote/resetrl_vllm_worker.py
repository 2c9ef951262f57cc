"""The process in which vLLM runs: answers the messages of the trainers' `VllmPolicy`.

One trainer starts it, and the ranks that share its GPUs may join. Messages are JSON:

    {"settings", "socket", "others", "patience"}   first of all, from the one that starts it:
                                    EngineArgs, how many others will come to a socket, and how many
                                    seconds a trainer may hear nothing; the reply {} means ready
    {"op": "generate", ...}         a wave: after each engine step {"indices", "tokens",
                                    "logprobs", "cached"}, to which the trainer answers with
                                    {"end": indices}; {} when no request is left
    {"op": "start_update"}, {"op": "update", ...}, {"op": "finish_update"}   new weights
    {"op": "reset_cache"}           the reply {"reset": false} means that nothing was forgotten
    {"op": "sleep"}, {"op": "wake", "tags": [...]}   memory of a colocated engine

Waves of several trainers are computed together. Anything else is done once all of them have asked
for it. A trainer that waits for others, or whose requests wait for room, hears {"waits": true} now
and then. The reply is {"error": "..."} where something went wrong.

Which tokens end a completion is decided by the trainer alone, token by token, while the next
step is already computed: a request that it ends has drawn one token too many, always just one, so
that the same requests of one trainer are always computed in the same batches.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
import time
import traceback
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener, wait
from typing import Any

Message = Mapping[str, Any]


@dataclass
class Wave:
    """The requests of one trainer that are under way: their places in its message, by name."""

    places: dict[str, int]
    awaits_ends: bool = False


class Engine:
    """vLLM without its output processor, which makes a text and a record of every token.

    Those are the trainer's to make, and cost a tenth of a small model's time.
    """

    def __init__(self, llm_engine: Any) -> None:
        self._tasks = llm_engine.get_supported_tasks()
        self._inputs = llm_engine.input_processor
        self._core = llm_engine.engine_core
        self.call_workers = llm_engine.collective_rpc
        self.reset_prefix_cache = llm_engine.reset_prefix_cache
        self.sleep = llm_engine.sleep
        self.wake_up = llm_engine.wake_up

    def add(self, name: str, request: Message, salt: str) -> None:
        prompt = {"prompt_token_ids": request["token_ids"], "cache_salt": salt}
        params = sampling_params(request)
        self._core.add_request(
            self._inputs.process_inputs(name, prompt, params, supported_tasks=self._tasks)
        )

    def step(self) -> Sequence[Any]:
        """One token for every request that there is room for: vLLM's `EngineCoreOutput`s."""
        outputs: Sequence[Any] = self._core.get_output().outputs
        return outputs

    def abort(self, names: Sequence[str]) -> None:
        self._core.abort_requests(names)


class Server:
    """Does with an engine what the messages of the trainers at the connections say.

    None of them hears nothing for more than `patience` seconds and one engine step.
    """

    def __init__(self, connections: Sequence[Connection], engine: Any, patience: float) -> None:
        self._connections = connections
        self._engine = engine
        self._patience = patience
        self._num_waves = 0
        self._waves: dict[Connection, Wave] = {}
        self._asked: dict[Connection, Message] = {}
        self._heard = dict.fromkeys(connections, 0.0)

    def serve(self) -> None:
        """Answer until a trainer closes its end, raising EOFError or OSError then."""
        while True:
            busy = self._waves.keys() | self._asked.keys()
            free = [each for each in self._connections if each not in busy]
            ready = wait(free, timeout=0 if self._waves else self._patience) if free else []
            for connection in free:
                if connection in ready:
                    self._take(connection)
            if self._waves:
                self._step()
            for connection in [*self._waves, *self._asked]:
                if time.monotonic() > self._heard[connection] + self._patience:
                    self._tell(connection, {"waits": True})

    def _tell(self, connection: Connection, message: Message) -> None:
        self._heard[connection] = time.monotonic()
        _send(connection, message)

    def _take(self, connection: Connection) -> None:
        message = _receive(connection)
        self._heard[connection] = time.monotonic()
        if message["op"] == "generate":
            self._begin(connection, message)
            return
        self._asked[connection] = message
        if len(self._asked) == len(self._connections):
            reply = self._do([self._asked.pop(each) for each in self._connections])
            for each in self._connections:
                _send(each, reply)

    def _do(self, messages: Sequence[Message]) -> Message:
        """What all trainers have asked for."""
        names = sorted({message["op"] for message in messages})
        if len(names) > 1:
            return {"error": f"the ranks want different things: {', '.join(names)}"}
        try:
            reply: Message = getattr(self, f"_do_{names[0]}")(messages)
        except Exception as error:  # whatever vLLM raises, the trainer is to tell its user
            return _failure(error)
        return reply

    def _begin(self, connection: Connection, message: Message) -> None:
        self._num_waves += 1
        wave = Wave({})
        try:
            for place, request in enumerate(message["requests"]):
                name = f"{self._num_waves}-{place}"
                self._engine.add(name, request, message["salt"])
                wave.places[name] = place
        except Exception as error:  # likewise
            self._engine.abort(list(wave.places))
            _send(connection, _failure(error))
            return
        self._waves[connection] = wave

    def _step(self) -> None:
        """One token for every request that vLLM has room for."""
        try:
            outputs = self._engine.step()
        except Exception as error:  # likewise
            for connection, wave in self._waves.items():
                if wave.awaits_ends:
                    _receive(connection)
                _send(connection, _failure(error))
            self._waves.clear()
            return
        told = []
        for connection, wave in self._waves.items():
            mine = [output for output in outputs if output.request_id in wave.places]
            if mine:
                self._tell(connection, _tokens(wave, mine))
                told.append((connection, wave, mine))
        for connection, wave, mine in told:
            self._end_requests(connection, wave, mine)

    def _end_requests(self, connection: Connection, wave: Wave, outputs: Sequence[Any]) -> None:
        """Those that vLLM has ended, or the trainer in answer to the step before this one."""
        done = {output.request_id for output in outputs if output.finished}
        if wave.awaits_ends:
            places = set(_receive(connection)["end"])
            ended = {name for name, place in wave.places.items() if place in places}
            if ended:
                self._engine.abort(sorted(ended))
            done |= ended
        wave.awaits_ends = True
        for name in done:
            del wave.places[name]
        if not wave.places:
            _receive(connection)  # the answer to this step, which ends nothing any more
            _send(connection, {})
            del self._waves[connection]

    def _do_start_update(self, messages: Sequence[Message]) -> Message:
        self._engine.call_workers("start_weight_update")
        return {}

    def _do_update(self, messages: Sequence[Message]) -> Message:
        """A file from the first trainer, or handles of memory from each, on its own GPU.

        Only pickle can carry handles; vLLM takes those of a parameter by GPU.
        """
        if "ipc" in messages[0]:
            infos = [pickle.loads(base64.b64decode(message["ipc"])) for message in messages]
            handles = zip(*(info["ipc_handles"] for info in infos), strict=True)
            info = {**infos[0], "ipc_handles": [dict(ChainMap(*of_one)) for of_one in handles]}
        else:
            info = {"path": messages[0]["path"]}
        self._engine.call_workers("update_weights", kwargs={"update_info": info})
        return {}

    def _do_finish_update(self, messages: Sequence[Message]) -> Message:
        self._engine.call_workers("finish_weight_update")
        return {}

    def _do_reset_cache(self, messages: Sequence[Message]) -> Message:
        return {"reset": bool(self._engine.reset_prefix_cache())}

    def _do_sleep(self, messages: Sequence[Message]) -> Message:
        """Level 2: weights are discarded, since new ones come before the next request."""
        self._engine.sleep(level=2)
        return {}

    def _do_wake(self, messages: Sequence[Message]) -> Message:
        self._engine.wake_up(tags=messages[0]["tags"])
        return {}


def _tokens(wave: Wave, outputs: Sequence[Any]) -> Message:
    """What a step drew for the requests of a wave."""
    prefills = [output.prefill_stats for output in outputs]  # with its first token, then None
    return {
        "indices": [wave.places[output.request_id] for output in outputs],
        "tokens": [output.new_token_ids[-1] for output in outputs],
        "logprobs": [float(output.new_logprobs.logprobs[-1][0]) for output in outputs],
        "cached": [prefill.num_cached_tokens if prefill else 0 for prefill in prefills],
    }


def start_engine(settings: Mapping[str, Any]) -> Engine:
    """A vLLM of the given EngineArgs that reports log-probabilities our way."""
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    engine = LLMEngine.from_engine_args(EngineArgs(**settings))
    engine.collective_rpc("use_scaled_sampler")
    if settings["weight_transfer_config"]["backend"] == "ipc":
        engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})
    return Engine(engine)


def sampling_params(request: Message) -> Any:
    """EOS and texts end nothing here; `max_tokens` is what fits the context."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=request["temperature"],
        top_p=request["top_p"],
        seed=request["seed"],
        max_tokens=request["max_tokens"],
        logprobs=0,
        ignore_eos=True,
        detokenize=False,
    )


def end_with(parent: int) -> None:
    """End this process as soon as the trainer is gone, whatever vLLM is doing."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _send(connection: Connection, message: Message) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _receive(connection: Connection) -> Message:
    message: Message = json.loads(connection.recv_bytes())
    return message


def _failure(error: BaseException) -> Message:
    """The reply to what vLLM refused; the traceback goes into the log."""
    traceback.print_exception(error)
    words = (str(error).strip() or "no message").splitlines()[0]
    return {"error": f"{type(error).__name__}: {words}"}


def main() -> None:
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    starter = Connection(int(sys.argv[1]))
    try:
        message = _receive(starter)
        try:
            engine = start_engine(message["settings"])
            others = message["others"]
            listener = Listener(message["socket"], backlog=others) if others else None
        except Exception as error:  # whatever vLLM raises, the trainer is to tell its user
            _send(starter, _failure(error))
            return
        _send(starter, {})
        joined = [listener.accept() for _ in range(others)] if listener else []
        Server([starter, *joined], engine, message["patience"]).serve()
    except (EOFError, ConnectionError):
        pass  # the trainer is done


if __name__ == "__main__":
    main()
