"""FL012: an RWLock that a reader blocks for itself, by an upgrade or by a second read behind a waiting writer."""

from __future__ import annotations

from support import ask


def test_an_upgrade_waits_for_itself() -> None:
    """A reader that wants to write is proven at once, although no other reader is there."""
    finding, text = ask(
        """
        shared = fastlock.RWLock()
        def upgrade():
            with shared.read():
                with shared.write(): pass
        start(upgrade)
        finding = found("FL012")[0]
        tell([finding.to_dict(), str(finding)])
        """
    )
    assert (finding["code"], finding["tier"], len(finding["edges"])) == ("FL012", "proven", 1)
    edge = finding["edges"][0]
    assert (edge["mode"], edge["held_at"]["line"], edge["wanted_at"]["line"]) == ("exclusive", 7, 8)
    assert edge["holds"] == edge["waits"]
    assert "holds  shared (read)" in text
    assert "waits  shared (write)" in text


def test_an_upgrade_among_other_readers_and_writers() -> None:
    """Other readers and a writer that waits already change nothing: the upgrade waits for itself."""
    finding = ask(
        """
        shared, reading = fastlock.RWLock(), threading.Barrier(3)
        def reader():
            with shared.read():
                reading.wait()
                threading.Event().wait()
        def upgrade():
            with shared.read():
                reading.wait()
                blocked("writer")
                with shared.write(): pass
        def writer():
            reading.wait()
            shared.acquire_write()
        start(reader), start(upgrade), start(writer)
        tell(found("FL012")[0].to_dict())
        """
    )
    assert (finding["tier"], [agent["name"] for agent in finding["agents"]], finding["behind"]) == ("proven", ["upgrade"], 1)


def test_a_second_read_behind_a_waiting_writer() -> None:
    """The reader waits behind the writer, and the writer for the reader: both are in the finding."""
    finding, text = ask(
        """
        shared = fastlock.RWLock(); reading = threading.Event()
        def reader():
            with shared.read():
                reading.set()
                blocked("writer")
                with shared.read(): pass
        def writer():
            reading.wait()
            with shared.write(): pass
        start(reader), start(writer)
        finding = found("FL012")[0]
        tell([finding.to_dict(), str(finding)])
        """
    )
    assert (finding["tier"], [agent["name"] for agent in finding["agents"]]) == ("proven", ["reader", "writer"])
    reader, writer = finding["edges"]
    assert (reader["mode"], writer["mode"], writer["holds"]) == ("shared", "exclusive", None)
    assert (reader["held_at"]["line"], reader["wanted_at"]["line"], writer["wanted_at"]["line"]) == (7, 10, 13)
    assert "behind a writer that waits for the first read to end" in finding["explanation"]
    assert "waits  shared (write)" in text


def test_a_second_read_passes_where_readers_are_preferred() -> None:
    """With prefer="reader" a waiting writer keeps nobody from reading again."""
    told = ask(
        """
        shared, reading = fastlock.RWLock(prefer="reader"), threading.Event()
        def reader():
            with shared.read():
                reading.set()
                blocked("writer")
                with shared.read(): pass
        def writer():
            reading.wait()
            with shared.write(): pass
        threads = start(reader), start(writer)
        for thread in threads:
            thread.join()
        tell([len(fastlock.findings()), [repr(thread.error) for thread in threads]])
        """
    )
    assert told == [0, ["None", "None"]]


def test_a_second_read_of_a_writer_that_gives_up_will_clear() -> None:
    """A writer with a timeout ends it by itself: will-clear, and then the second read passes."""
    told = ask(
        """
        shared = fastlock.RWLock()
        def reader():
            with shared.read():
                reading.set()
                blocked("writer")
                with shared.read(): pass
        def writer():
            reading.wait()
            assert not shared.acquire_write(timeout=limit_s)
        for limit_s in (0.5, 5, 50):        # the reader has that long to come
            reading = threading.Event()
            threads = start(reader), start(writer)
            for thread in threads:
                thread.join()
            if fastlock.findings(): break
        finding = found("FL012")[0]
        tell([finding.tier, finding.clears, [repr(thread.error) for thread in threads], shared.locked()])
        """
    )
    assert told == ["will-clear", True, ["None", "None"], False]


def test_raise_leaves_the_readers_share() -> None:
    """With raise an upgrade fails and the reader still reads; released, the lock is free."""
    told = ask(
        """
        shared = fastlock.RWLock(on_deadlock="raise")
        with shared.read():
            try:
                shared.acquire_write()
            except fastlock.DeadlockError as error:
                code, readers = error.finding.code, shared.readers
        with shared.write():
            tell([code, readers, shared.readers, len(fastlock.snapshot().waits)])
        """
    )
    assert told == ["FL012", 1, 0, 0]


def test_two_upgrades_are_one_defect() -> None:
    """Two readers that upgrade in the same lines are counted under one fingerprint."""
    told = ask(
        """
        shared, both = fastlock.RWLock(), threading.Barrier(2)
        def upgrade():
            with shared.read():
                both.wait()
                with shared.write(): pass
        start(upgrade, name="one"), start(upgrade, name="two")
        wait_until(lambda: fastlock.findings() and fastlock.findings()[0].count == 2)
        tell([[finding.code, finding.count] for finding in fastlock.findings()])
        """
    )
    assert told == [["FL012", 2]]
