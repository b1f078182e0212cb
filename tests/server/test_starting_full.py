"""A server that starts on a full disk: its clients list and fetch what is there."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from server.pairing import ID_FILE
from server.repository import DatabaseInUse, open_repository
from tests.faults.injection import filled, mounted
from tests.mariadb import MariaDB
from tests.peer4.client import Peer4
from tests.server.running import running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")

_DISK_BYTES = 4 * 2**20


@pytest.fixture(params=["sqlite on it", "sqlite elsewhere", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of a database; None is that of the data directory."""
    match request.param:
        case "sqlite on it":
            return None
        case "sqlite elsewhere":
            return f"sqlite:///{tmp_path / 'rows'}"
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(server.new_database())


def test_a_server_starts_on_a_full_disk_and_its_clients_list_and_fetch(
    tmp_path: Path, database: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "disk" / "data"
    with mounted(data.parent, _DISK_BYTES):
        with running(data, registration="open", database=database) as server:
            peer = Peer4(server.port).open().introduce()
            peer.put("a", b"content")
            peer.close()
        url = database or f"sqlite:///{data / 'eft.sqlite3'}"
        counted = (data / ID_FILE).read_bytes()
        caplog.clear()
        with filled(data.parent):
            for _ in range(2):
                with running(data, registration="open", database=database) as server:
                    peer = Peer4(server.port, client_id=peer.client_id).open().connect()
                    assert peer.names() == ["a"]
                    assert peer.get("a")[1] == b"content"
                    peer.close()
                    with closing(open_repository(url, upgrade=False)) as other:
                        with pytest.raises(DatabaseInUse):
                            other.hold()
                        assert (other.pairing() or ())[1:] == (1,)
        assert (data / ID_FILE).read_bytes() == counted
        told = [each for each in caplog.records if "no room to count" in each.getMessage()]
        assert len(told) == 2
        with running(data, database=database), closing(open_repository(url)) as other:
            assert (other.pairing() or ())[1:] == (2,)
