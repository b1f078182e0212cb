"""A named lock of MySQL's or MariaDB's that one server holds for as long as it runs."""

import hashlib
import threading
from contextlib import closing
from dataclasses import replace

from server.repository.mysql_connections import Address, Session
from server.repository.transactions import Work

WAIT_SECONDS = 2
"""For a connection that was closed just now, or whose process was killed, to be noticed."""

_CLOSE_SECONDS = 1.0


class ServerLock:
    """The lock of the database at `address`. It lasts as long as the connection that it was taken
    on, which serves for nothing but that; any thread may call the methods."""

    def __init__(self, address: Address) -> None:
        self._address = replace(address, answer_seconds=address.answer_seconds + WAIT_SECONDS)
        self._turn = threading.Lock()
        self._session: Session | None = None
        self._closed = False

    def take(self, look: Work[None], *, wait_seconds: int = WAIT_SECONDS) -> bool:
        """Takes the lock, on a new connection where there is none, or sees that it is held here
        still; False when another connection has it. Looks before, in a transaction there. Raises
        what `look` does or a driver's error, after which the lock is not held."""
        with self._turn:
            try:
                session = self._session or self._connected()
                look(session)
                return self._take(session, wait_seconds)
            except BaseException:  # whatever it was, the next try begins anew
                self._drop()
                raise
            finally:
                if self._closed:
                    self._drop()

    def _connected(self) -> Session:
        self._session = Session(self._address)
        return self._session

    def _take(self, session: Session, wait_seconds: int) -> bool:
        name = _name(session)
        # Asked each time: a proxy may have gone on with another connection in our place.
        ((ours,),) = session.rows("SELECT IS_USED_LOCK(?) = CONNECTION_ID()", name)
        if not ours:
            ((ours,),) = session.rows("SELECT GET_LOCK(?, ?)", name, wait_seconds)
        session.commit()
        if not ours:
            self._drop()
        return bool(ours)

    def silence(self) -> int:
        """For how many whole seconds whoever has the lock has asked the database nothing; 0 when
        that cannot be seen. Raises a driver's error."""
        with closing(Session(self._address)) as session:
            ((holder,),) = session.rows("SELECT IS_USED_LOCK(?)", _name(session))
            if holder is None:  # let go a moment ago
                return self._address.idle_seconds
            # An account may always see its own connections there, and which is idle for how long.
            found = [row[5] for row in session.rows("SHOW PROCESSLIST") if row[0] == holder]
        return int(found[0] or 0) if found else 0

    def close(self) -> None:
        """Lets another server have it."""
        self._closed = True
        # Whoever has the turn may wait for a database that does not answer, and lets go after that.
        if self._turn.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._drop()
            finally:
                self._turn.release()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _name(session: Session) -> str:
    # Of the whole database server, which may keep other databases of ours.
    ((database,),) = session.rows(
        "SELECT IF(@@lower_case_table_names = 0, DATABASE(), LOWER(DATABASE()))"
    )
    return f"eft_server_{hashlib.sha256(str(database).encode()).hexdigest()[:32]}"
