"""The console: what `fastlock top` shows. Imported by cli/top alone; only console/app and what is beside it need textual."""
