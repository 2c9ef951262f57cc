"""hydra takes launchers from the namespace `hydra_plugins` only; ours is in `resetrl.sweep`."""

from hydra.core.config_store import ConfigStore

from resetrl.sweep.launcher import LauncherConfig, ProcessLauncher


class ResetrlLauncher(ProcessLauncher):
    """`hydra/launcher=resetrl`."""


ConfigStore.instance().store(
    group="hydra/launcher", name="resetrl", node=LauncherConfig, provider="resetrl"
)
