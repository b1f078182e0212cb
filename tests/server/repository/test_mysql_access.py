"""Who is let into a real MariaDB, with which rights, and over which kind of connection."""

import socket
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.repository import RepositoryError, RepositoryUnavailable, open_repository
from server.repository.mysql import MySQLRepository
from server.repository.mysql_connections import Address, Session
from server.repository.transactions import Row
from tests.mariadb import PASSWORD, MariaDB, make_certificate
from tests.server.repository.conftest import OpenAt
from tests.server.repository.samples import client, stored_file


class TestAccess:
    def test_the_password_opens_the_database(self, by_port: Address, open_at: OpenAt) -> None:
        open_at(replace(by_port, user="guarded", password=PASSWORD))

    def test_a_wrong_password_is_unavailable_and_not_repeated(self, by_port: Address) -> None:
        with pytest.raises(RepositoryUnavailable, match="Access denied") as refused:
            MySQLRepository(replace(by_port, user="guarded", password="hunter2"))
        assert "hunter2" not in str(refused.value)

    def test_opening_it_starts_no_other_program(
        self, address: Address, open_at: OpenAt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def start(*arguments: object, **_: object) -> None:
            raise AssertionError(arguments)

        monkeypatch.setattr(subprocess, "Popen", start)
        open_at(address).add_client(client())

    def test_a_missing_database_is_unavailable(self, address: Address) -> None:
        with pytest.raises(RepositoryUnavailable, match="Unknown database 'nothing'"):
            MySQLRepository(replace(address, database="nothing"))

    def test_a_standing_schema_needs_no_right_to_make_tables(
        self, mariadb: MariaDB, address: Address, open_at: OpenAt
    ) -> None:
        MySQLRepository(address).close()
        user = f"frugal_{address.database}"
        rights = "SELECT, INSERT, UPDATE, DELETE"
        mariadb.run(f"GRANT {rights} ON {address.database}.* TO {user}@'%' IDENTIFIED BY ''")
        open_at(replace(address, user=user)).add_client(client())

    def test_a_missing_right_is_an_error_that_names_it(
        self, mariadb: MariaDB, address: Address
    ) -> None:
        user = f"useless_{address.database}"
        mariadb.run(f"GRANT SELECT ON {address.database}.* TO {user}@'%' IDENTIFIED BY ''")
        with pytest.raises(RepositoryError, match="CREATE command denied"):
            MySQLRepository(replace(address, user=user))

    def test_a_migration_by_another_server_is_waited_for_and_no_longer(
        self, mariadb: MariaDB, address: Address, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = Session.rows

        def ask_again_elsewhere(session: Session, sql: str, *parameters: str | int) -> list[Row]:
            answer = rows(session, sql, *parameters)
            if "GET_LOCK" in sql:
                monkeypatch.setattr(Session, "rows", rows)
                with pytest.raises(RepositoryUnavailable, match="another server has been"):
                    MySQLRepository(address, migration_seconds=0)
            return answer

        monkeypatch.setattr(Session, "rows", ask_again_elsewhere)
        MySQLRepository(address).close()

    def test_a_server_set_to_store_what_fits_refuses_what_does_not(
        self, mariadb: MariaDB, address: Address, open_at: OpenAt
    ) -> None:
        owner = client()
        ((usual,),) = mariadb.run("SELECT @@GLOBAL.sql_mode")
        mariadb.run("SET GLOBAL sql_mode = ''")
        try:
            repository = open_at(address)
            repository.add_client(owner)
            with pytest.raises(RepositoryError, match="Out of range"):
                repository.publish_file(stored_file(owner, size=2**63))
        finally:
            mariadb.run(f"SET GLOBAL sql_mode = '{usual}'")

    def test_a_url_with_an_option_file_opens_the_database(
        self, by_port: Address, tmp_path: Path
    ) -> None:
        options = tmp_path / "my.cnf"
        options.touch(0o600)
        options.write_text(f'[client]\nuser = guarded\npassword = "{PASSWORD}"\n')
        url = f"mysql://127.0.0.1:{by_port.port}/{by_port.database}?option_file={options}"
        with closing(open_repository(url)) as repository:
            assert list(repository.clients()) == []


@pytest.fixture
def remote(by_port: Address, monkeypatch: pytest.MonkeyPatch) -> Address:
    """The database under a host name that is not known to be this machine."""
    resolve = socket.getaddrinfo
    names = {"db.example": "127.0.0.1"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *given: resolve(names.get(host, host), *given)
    )
    return replace(by_port, host="db.example")


class TestEncryption:
    def test_a_session_off_this_machine_is_encrypted(
        self, remote: Address, open_at: OpenAt
    ) -> None:
        repository = open_at(remote)
        status = repository._read(lambda each: each.rows("SHOW STATUS LIKE 'Ssl_cipher'"))
        assert status[0][1]

    def test_a_server_without_tls_off_this_machine_is_refused(
        self, mariadb: MariaDB, remote: Address
    ) -> None:
        mariadb.restart("--skip-ssl")
        try:
            with pytest.raises(RepositoryUnavailable, match="does not offer TLS"):
                MySQLRepository(remote)
        finally:
            mariadb.restart()

    def test_a_server_without_tls_on_loopback_is_accepted(
        self, mariadb: MariaDB, by_port: Address, open_at: OpenAt
    ) -> None:
        mariadb.restart("--skip-ssl")
        try:
            open_at(by_port)
        finally:
            mariadb.restart()

    def test_a_verified_certificate_is_accepted(
        self, mariadb: MariaDB, by_port: Address, open_at: OpenAt
    ) -> None:
        open_at(replace(by_port, ssl_ca=str(mariadb.ca)))

    def test_a_certificate_for_another_host_is_refused_at_once(
        self, mariadb: MariaDB, remote: Address, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(RepositoryUnavailable, match="certificate verify failed"):
            MySQLRepository(replace(remote, ssl_ca=str(mariadb.ca)))
        assert "trying again" not in caplog.text

    def test_a_certificate_of_another_authority_is_refused_at_once(
        self, by_port: Address, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = tmp_path / "other.pem"
        make_certificate(other, tmp_path / "key.pem")
        with pytest.raises(RepositoryUnavailable, match="certificate verify failed"):
            MySQLRepository(replace(by_port, ssl_ca=str(other)))
        assert "trying again" not in caplog.text

    def test_a_missing_authority_file_is_unavailable(self, by_port: Address) -> None:
        with pytest.raises(RepositoryUnavailable, match="Invalid CA Certificate"):
            MySQLRepository(replace(by_port, ssl_ca="/nowhere/ca.pem"))
