"""textual's driver of a terminal, for terminals that send what is no UTF-8: line noise, a paste of bytes, a Latin-1 keyboard."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class Terminal(LinuxDriver):
    """Reads keys on, where textual's own would end: the few bytes that came together with the wrong ones are lost."""

    def run_input_thread(self) -> None:
        """Read keys until the end; on a thread of textual's."""
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                continue
            return
