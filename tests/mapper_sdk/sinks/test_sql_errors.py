"""What a server says, and what becomes of it: tried again, refused, or told to a human."""

import ssl

import asyncpg
import pytest
from asyncmy import errors as mysql_errors

from dmi.errors import (
    ConfigError,
    ConversionError,
    DeadlineError,
    OverloadedError,
    RefusedError,
    UnavailableError,
)
from mapper_sdk.sinks.mysql import errors as mysql
from mapper_sdk.sinks.postgresql import errors as postgresql

POSTGRESQL = [
    (asyncpg.InvalidPasswordError, ConfigError, UnavailableError),
    (asyncpg.InvalidAuthorizationSpecificationError, ConfigError, UnavailableError),
    (asyncpg.InvalidCatalogNameError, ConfigError, UnavailableError),
    (asyncpg.InsufficientPrivilegeError, ConfigError, UnavailableError),
    (asyncpg.FeatureNotSupportedError, ConfigError, UnavailableError),
    (asyncpg.DiskFullError, UnavailableError, UnavailableError),
    (asyncpg.TooManyConnectionsError, OverloadedError, OverloadedError),
    (asyncpg.AdminShutdownError, UnavailableError, UnavailableError),
    (asyncpg.CannotConnectNowError, UnavailableError, UnavailableError),
    (asyncpg.QueryCanceledError, DeadlineError, DeadlineError),
    (asyncpg.SerializationError, UnavailableError, UnavailableError),
    (asyncpg.DeadlockDetectedError, UnavailableError, UnavailableError),
    (asyncpg.ReadOnlySQLTransactionError, UnavailableError, UnavailableError),
    (asyncpg.UndefinedTableError, UnavailableError, UnavailableError),
    (asyncpg.ForeignKeyViolationError, UnavailableError, UnavailableError),
    (asyncpg.NumericValueOutOfRangeError, ConversionError, ConversionError),
    (asyncpg.CharacterNotInRepertoireError, ConversionError, ConversionError),
    (asyncpg.ProgramLimitExceededError, RefusedError, RefusedError),
    (asyncpg.InterfaceError, UnavailableError, UnavailableError),
    (asyncpg.ClientConfigurationError, ConfigError, UnavailableError),
    (ConnectionRefusedError, UnavailableError, UnavailableError),
]

MYSQL = [
    (1045, ConfigError, UnavailableError),  # access denied
    (1049, ConfigError, UnavailableError),  # unknown database
    (1142, ConfigError, UnavailableError),  # table access denied
    (2059, ConfigError, UnavailableError),  # a way to log in
    (1040, OverloadedError, OverloadedError),  # too many connections
    (1021, UnavailableError, UnavailableError),  # disk full
    (1114, UnavailableError, UnavailableError),  # table full
    (1146, UnavailableError, UnavailableError),  # no such table
    (1205, UnavailableError, UnavailableError),  # lock wait timeout
    (1213, UnavailableError, UnavailableError),  # deadlock
    (1290, UnavailableError, UnavailableError),  # read only
    (1452, UnavailableError, UnavailableError),  # foreign key
    (1969, DeadlineError, DeadlineError),  # statement timeout
    (2013, UnavailableError, UnavailableError),  # connection lost
    (1264, ConversionError, ConversionError),  # out of range
    (1366, ConversionError, ConversionError),  # wrong text
    (1406, ConversionError, ConversionError),  # too long
]


@pytest.mark.parametrize(("said", "opening", "sending"), POSTGRESQL)
def test_postgresql(said, opening, sending):
    error = said("what it said")
    assert isinstance(error, postgresql.FAILURES)
    for found, wanted in (
        (postgresql.opening_failed(error, "db"), opening),
        (postgresql.sending_failed(error, "db"), sending),
    ):
        assert type(found) is wanted
        assert str(found) == "db: what it said"


@pytest.mark.parametrize(("number", "opening", "sending"), MYSQL)
def test_mysql(number, opening, sending):
    error = mysql_errors.OperationalError(number, "what it said")
    assert isinstance(error, mysql.FAILURES)
    for found, wanted in (
        (mysql.opening_failed(error, "db"), opening),
        (mysql.sending_failed(error, "db"), sending),
    ):
        assert type(found) is wanted
        assert str(found) == "db: what it said"


def test_an_error_without_words_is_named():
    assert "ConnectionResetError" in str(postgresql.sending_failed(ConnectionResetError(), "db"))
    assert "ConnectionResetError" in str(mysql.sending_failed(ConnectionResetError(), "db"))


def test_a_certificate_is_a_humans_work_however_deep_it_is_told():
    error = mysql_errors.OperationalError(2003, "no connection")
    error.__cause__ = ssl.SSLCertVerificationError("bad")
    error.__cause__.verify_message = "expired"
    found = mysql.opening_failed(error, "db")
    assert type(found) is ConfigError
    assert "expired" in str(found)
