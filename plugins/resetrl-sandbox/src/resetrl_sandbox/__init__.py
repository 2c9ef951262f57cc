"""Registers the verifier `code` and the command `resetrl sandbox`.

Reading order: `verifier` (programs to verdicts), `judging` (in a worker: run, then compare),
`host` (the trusted end of the sandbox), `external` (what it may be started in), `inside` (the
other end), `comparison`, `formats` (tests of a problem), `levels` (what this machine allows),
`attacks` and `command` (what was tried on it).
"""

from __future__ import annotations

from resetrl.hookspecs import Commands, Components, hookimpl


@hookimpl
def resetrl_verifiers() -> Components:
    from resetrl_sandbox.verifier import Code

    return {"code": Code}


@hookimpl
def resetrl_commands() -> Commands:
    from resetrl_sandbox.command import app

    return {"sandbox": app}
