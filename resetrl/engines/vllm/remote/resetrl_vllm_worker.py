"""The process in which vLLM runs: answers the messages of the trainer's `VllmPolicy`.

Messages are JSON, one reply each, `{"error": "..."}` where something went wrong:

    settings of EngineArgs          first of all; the reply {} means ready
    {"op": "generate", ...}         a wave: after each engine step {"indices", "tokens",
                                    "logprobs", "cached"}, to which the trainer answers with
                                    {"end": indices}; {} when no request is left
    {"op": "start_update"}, {"op": "update", ...}, {"op": "finish_update"}   new weights
    {"op": "reset_cache"}           the reply {"reset": false} means that nothing was forgotten
    {"op": "sleep"}, {"op": "wake", "tags": [...]}   memory of a colocated engine

Which tokens end a completion is decided by the trainer alone, token by token, while the next
step is already computed: a request that it ends has drawn one token too many, always just one, so
that the same requests are always computed in the same batches.
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
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Message = Mapping[str, Any]


class Server:
    """Does with an `LLMEngine` what the messages say.

    `make_params` turns a request's numbers into vLLM's SamplingParams.
    """

    def __init__(
        self, connection: Connection, engine: Any, make_params: Callable[[Message], Any]
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._make_params = make_params
        self._num_waves = 0

    def serve(self) -> None:
        """Answer until the trainer closes its end."""
        while True:
            message = self._receive()
            try:
                reply = getattr(self, f"do_{message['op']}")(message)
            except (EOFError, OSError):
                raise
            except Exception as error:  # whatever vLLM raises, the trainer is to tell its user
                traceback.print_exc()
                reply = {"error": _in_words(error)}
            self._send(reply)

    def do_generate(self, message: Message) -> Message:
        self._num_waves += 1
        engine, names, unanswered = self._engine, {}, 0
        for index, request in enumerate(message["requests"]):
            name = f"{self._num_waves}-{index}"
            names[name] = index
            prompt = {"prompt_token_ids": request["token_ids"], "cache_salt": message["salt"]}
            engine.add_request(name, prompt, self._make_params(request))
        while engine.has_unfinished_requests():
            outputs = engine.step()
            if not outputs:
                continue
            tokens = [output.outputs[0].token_ids[-1] for output in outputs]
            self._send(
                {
                    "indices": [names[output.request_id] for output in outputs],
                    "tokens": tokens,
                    "logprobs": [
                        output.outputs[0].logprobs[-1][token].logprob
                        for output, token in zip(outputs, tokens, strict=True)
                    ],
                    "cached": [output.num_cached_tokens or 0 for output in outputs],
                }
            )
            if unanswered:
                self._end_requests()
            unanswered = 1
        if unanswered:
            self._receive()
        return {}

    def _end_requests(self) -> None:
        """Abort what the trainer ends in answer to the step before."""
        names = [f"{self._num_waves}-{index}" for index in self._receive()["end"]]
        if names:
            self._engine.abort_request(names)

    def do_start_update(self, message: Message) -> Message:
        self._engine.collective_rpc("start_weight_update")
        return {}

    def do_update(self, message: Message) -> Message:
        """A file in shared memory, or handles of memory on a GPU, which only pickle can carry."""
        if "ipc" in message:
            info = pickle.loads(base64.b64decode(message["ipc"]))
        else:
            info = {"path": message["path"]}
        self._engine.collective_rpc("update_weights", kwargs={"update_info": info})
        return {}

    def do_finish_update(self, message: Message) -> Message:
        self._engine.collective_rpc("finish_weight_update")
        return {}

    def do_reset_cache(self, message: Message) -> Message:
        return {"reset": bool(self._engine.reset_prefix_cache())}

    def do_sleep(self, message: Message) -> Message:
        """Level 2: weights are discarded, since new ones come before the next request."""
        self._engine.sleep(level=2)
        return {}

    def do_wake(self, message: Message) -> Message:
        self._engine.wake_up(tags=message["tags"])
        return {}

    def _send(self, message: Message) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def _receive(self) -> Message:
        message: Message = json.loads(self._connection.recv_bytes())
        return message


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


def _in_words(error: BaseException) -> str:
    words = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {words}"


def main() -> None:
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    connection = Connection(int(sys.argv[1]))
    try:
        settings = json.loads(connection.recv_bytes())
        try:
            engine = start_engine(settings)
        except Exception as error:  # whatever vLLM raises, the trainer is to tell its user
            traceback.print_exc()
            connection.send_bytes(json.dumps({"error": _in_words(error)}).encode())
            return
        connection.send_bytes(b"{}")
        Server(connection, engine, sampling_params).serve()
    except (EOFError, ConnectionError):
        pass  # the trainer is done


if __name__ == "__main__":
    main()
