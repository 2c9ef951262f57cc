"""hydra takes launchers from the namespace `hydra_plugins` only; ours is in `resetrl.sweep`."""

from hydra.core.config_store import ConfigStore

from resetrl.sweep.launcher import LauncherConfig, ProcessLauncher


class ResetrlLauncher(ProcessLauncher):
    """`hydra/launcher=resetrl`."""


for name in ("resetrl", "resetrl_schema"):  # an application may have a resetrl.yaml of its own
    ConfigStore.instance().store(
        group="hydra/launcher", name=name, node=LauncherConfig, provider="resetrl"
    )
