"""`engine=vllm`: a policy in the trainer's process, and vLLM in a process of its own.

    policy      the policy: requests to vLLM, its tokens to completions, new weights to it
    setup       what vLLM is started with, and what can be refused before it is
    process     the worker process: pipe, log, failures
    transfer    parameters on their way: files in shared memory, or memory of a shared GPU
    remote/     what runs on the other side, maybe in another Python environment

vLLM wants the environment variables, the random generators and the process group of a process to
itself, and pins its own packages; so nothing of it is ever imported where the learner lives.
"""
