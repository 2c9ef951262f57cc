"""What runs in vLLM's own processes, maybe in another Python environment.

The two modules are run from this folder and import nothing of resetrl, so that vLLM keeps its own
packages; what both sides must agree on are the messages, which `resetrl_vllm_worker` describes.
"""
