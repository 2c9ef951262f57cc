"""The process in which vLLM runs: answers the messages of the trainers' `VllmPolicy`.

One trainer starts it, and the ranks that share its GPUs may join. Messages are JSON:

    {"settings", "socket", "others"}  first of all, from the one that starts it: EngineArgs, and how
                                    many others will come to a socket; the reply {} means ready
    {"op": "generate", ...}         a wave: after each engine step {"indices", "tokens",
                                    "logprobs", "cached"}, to which the trainer answers with
                                    {"end": indices}; {} when no request is left
    {"op": "start_update"}, {"op": "update", ...}, {"op": "finish_update"}   new weights
    {"op": "reset_cache"}           the reply {"reset": false} means that nothing was forgotten
    {"op": "sleep"}, {"op": "wake", "tags": [...]}   memory of a colocated engine

Waves of several trainers are computed together. Anything else is done once all of them have asked
for it, and a trainer that waits for others hears {"waits": true} now and then. The reply is
{"error": "..."} where something went wrong.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener, wait
from typing import Any

Message = Mapping[str, Any]

PATIENCE_SECONDS = 10.0
"""How long a trainer hears nothing while it waits for others."""


@dataclass
class Wave:
    """The requests of one trainer that are under way: their places in its message, by name."""

    places: dict[str, int]
    awaits_ends: bool = False


class Server:
    """Does with an `LLMEngine` what the messages say.

    `connections` are those of the trainers; `make_params` turns a request's numbers into vLLM's
    SamplingParams.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        engine: Any,
        make_params: Callable[[Message], Any],
    ) -> None:
        self._connections = connections
        self._engine = engine
        self._make_params = make_params
        self._num_waves = 0
        self._waves: dict[Connection, Wave] = {}
        self._asked: dict[Connection, Message] = {}
        self._reassured = time.monotonic()

    def serve(self) -> None:
        """Answer until a trainer closes its end, raising EOFError or OSError then."""
        while True:
            busy = self._waves.keys() | self._asked.keys()
            free = [each for each in self._connections if each not in busy]
            ready = wait(free, timeout=0 if self._waves else PATIENCE_SECONDS) if free else []
            for connection in free:
                if connection in ready:
                    self._take(connection)
            if self._waves:
                self._step()
            if self._asked and time.monotonic() > self._reassured + PATIENCE_SECONDS:
                self._reassured = time.monotonic()
                for connection in self._asked:
                    _send(connection, {"waits": True})

    def _take(self, connection: Connection) -> None:
        message = _receive(connection)
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
                prompt = {"prompt_token_ids": request["token_ids"], "cache_salt": message["salt"]}
                self._engine.add_request(name, prompt, self._make_params(request))
                wave.places[name] = place
        except Exception as error:  # likewise
            self._engine.abort_request(list(wave.places))
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
                _send(connection, _tokens(wave, mine))
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
                self._engine.abort_request(sorted(ended))
            done |= ended
        wave.awaits_ends = True
        for name in done:
            del wave.places[name]
        if not wave.places:
            _receive(connection)  # the answer to this step, which ends nothing any more
            _send(connection, {})
            del self._waves[connection]

    def _do_start_update(self, messages: Sequence[Message]) -> Message:
        self._engine.collective_rpc("start_weight_update")
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
        self._engine.collective_rpc("update_weights", kwargs={"update_info": info})
        return {}

    def _do_finish_update(self, messages: Sequence[Message]) -> Message:
        self._engine.collective_rpc("finish_weight_update")
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
    tokens = [output.outputs[0].token_ids[-1] for output in outputs]
    return {
        "indices": [wave.places[output.request_id] for output in outputs],
        "tokens": tokens,
        "logprobs": [
            output.outputs[0].logprobs[-1][token].logprob
            for output, token in zip(outputs, tokens, strict=True)
        ],
        "cached": [output.num_cached_tokens or 0 for output in outputs],
    }


def start_engine(settings: Mapping[str, Any]) -> Any:
    """An LLMEngine of the given EngineArgs that reports log-probabilities our way."""
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    engine = LLMEngine.from_engine_args(EngineArgs(**settings))
    engine.collective_rpc("use_scaled_sampler")
    if settings["weight_transfer_config"]["backend"] == "ipc":
        engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})
    return engine


def sampling_params(request: Message) -> Any:
    """EOS and texts end nothing here; `max_tokens` is what fits the context."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=request["temperature"],
        top_p=request["top_p"],
        seed=request["seed"],
        max_tokens=request["max_tokens"],
        logprobs=0,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
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
        Server([starter, *joined], engine, sampling_params).serve()
    except (EOFError, ConnectionError):
        pass  # the trainer is done


if __name__ == "__main__":
    main()
