"""How `make lab` runs JupyterLab: only this machine can reach it, and it asks nobody outside for anything."""

from pathlib import Path

course = Path(__file__).resolve().parent.parent.parent

c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port_retries = 0
# Formgrader needs the course's root within the server's; the file browser still opens on the chapters.
c.ServerApp.root_dir = str(course)
c.FileContentsManager.preferred_dir = str(course / "chapters")
# What remains to be read in the terminal is the address to open, and whatever goes wrong.
c.Application.log_level = "WARN"
c.LabApp.default_url = "/lab/tree/chapters/welcome.md"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
