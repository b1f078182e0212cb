"""The statements that SQLite and MySQL share, and the one base class that runs them."""

from server.repository.clients import ClientStatements
from server.repository.copying import CopyStatements
from server.repository.directory import DirectoryStatements
from server.repository.files import FileStatements
from server.repository.trail import TrailStatements
from server.repository.uploads import UploadStatements


class SqlRepository(
    ClientStatements,
    FileStatements,
    UploadStatements,
    TrailStatements,
    DirectoryStatements,
    CopyStatements,
):
    """A repository on any database that runs these statements."""
