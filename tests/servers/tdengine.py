"""A stand-in for TDengine's taosAdapter: it reads the SQL that it gets into tables.

It knows the statements that the sink uses, from the reference and not from the sink, and it
answers what the reference says. Strings are read by the reference's escapes.
"""

import base64
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.servers.process import free_port

_TOKEN = re.compile(
    r"\s*(?:`(?P<quoted>[^`]*)`"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>[(),.=;]))",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_SYNTAX, _NO_STABLE, _NO_DATABASE, _TOO_LONG, _AUTH = 0x2600, 0x2603, 0x0388, 0x2610, 0x0357
_SQL_TOO_LONG = 0x0219


class SqlError(Exception):
    """An answer other than success."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Stable:
    """A supertable: the types of its columns and tags, by name."""

    columns: dict[str, str]
    tags: dict[str, str]


@dataclass
class Child:
    """A table of a supertable; a row replaces one of the same time."""

    stable: str
    tags: tuple
    rows: dict[int, tuple] = field(default_factory=dict)


@dataclass
class Database:
    """Supertables and tables."""

    precision: str = "ms"
    stables: dict[str, Stable] = field(default_factory=dict)
    tables: dict[str, Child] = field(default_factory=dict)


class FakeTDengine:
    """Keeps databases over `kill` and `start`.

    Attributes:
        databases: By name.
        statements: All that came.
        answers: Codes given in turn instead of doing what is asked.
        statuses: HTTP statuses without a body of the adapter, given in turn before that.
    """

    def __init__(
        self,
        password: str = "taosdata",  # noqa: S107 - the server's own default
        largest: int = 1_048_576,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = free_port()
        self.databases: dict[str, Database] = {}
        self.statements: list[str] = []
        self.answers: list[int] = []
        self.statuses: list[int] = []
        self._token = base64.b64encode(f"root:{password}".encode()).decode()
        self._largest = largest
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def children(self, database: str, **tags: str) -> list[Child]:
        """Give the tables whose tags have these values."""
        found = []
        for child in self.databases[database].tables.values():
            names = self.databases[database].stables[child.stable].tags
            its = dict(zip(names, child.tags, strict=True))
            if all(its[name] == value for name, value in tags.items()):
                found.append(child)
        return found

    async def start(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/rest/sql", self._serve)
        app.router.add_post("/rest/sql/{database}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()

    async def kill(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        statement = (await request.read()).decode()
        self.statements.append(statement)
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), text="proxy")
        if request.headers.get("Authorization") != f"Basic {self._token}":
            return web.json_response({"code": _AUTH, "desc": "Authentication failure"}, status=401)
        try:
            return self._run(statement, request.match_info.get("database", ""))
        except SqlError as error:
            return web.json_response({"code": error.code, "desc": str(error)})

    def _run(self, statement: str, database: str) -> web.Response:
        if self.answers:
            raise SqlError(self.answers.pop(0), "as told")
        if len(statement) > self._largest:
            raise SqlError(_SQL_TOO_LONG, "SQL statement too long")
        words = Words(statement)
        if words.take("CREATE", "DATABASE", "IF", "NOT", "EXISTS"):
            name = words.name()
            words.need("PRECISION")
            self.databases.setdefault(name, Database(words.text()))
            return _affected(0)
        if words.take("SELECT"):
            found = re.fullmatch(r".* WHERE `name` = '(.*)'", statement)
            known = self.databases.get(found[1])
            meta = [["precision", "VARCHAR", 2]]
            data = [[known.precision]] if known else []
            answer = {"code": 0, "column_meta": meta, "data": data, "rows": len(data)}
            return web.json_response(answer)
        if database not in self.databases:
            raise SqlError(_NO_DATABASE, "Database not exist")
        if words.take("CREATE", "STABLE", "IF", "NOT", "EXISTS"):
            self._stable(words, self.databases[database])
            return _affected(0)
        words.need("INSERT")
        words.need("INTO")
        return _affected(self._insert(words, self.databases[database]))

    def _stable(self, words: "Words", database: Database) -> None:
        name = words.name()
        columns = dict(words.columns())
        words.need("TAGS")
        made = Stable(columns, dict(words.columns()))
        assert next(iter(columns.values())) == "TIMESTAMP"
        database.stables.setdefault(name, made)

    def _insert(self, words: "Words", database: Database) -> int:
        made: list[tuple[str, Child, list[tuple]]] = []
        while words.more():
            name = words.name()
            words.need("USING")
            stable = words.name()
            if stable not in database.stables:
                raise SqlError(_NO_STABLE, "Table does not exist")
            known = database.stables[stable]
            words.need("TAGS")
            tags = words.values(list(known.tags.values()))
            words.need("VALUES")
            rows = [words.values(list(known.columns.values()))]
            while words.peek() == ("sign", "("):
                rows.append(words.values(list(known.columns.values())))
            made.append((name, Child(stable, tags), rows))
        for name, child, rows in made:
            table = database.tables.setdefault(name, child)
            table.rows.update({row[0]: row[1:] for row in rows})
        return sum(len(rows) for _, _, rows in made)


def _affected(count: int) -> web.Response:
    meta = [["affected_rows", "INT", 4]]
    return web.json_response({"code": 0, "column_meta": meta, "data": [[count]], "rows": 1})


class Words:
    """A statement, token by token."""

    def __init__(self, statement: str) -> None:
        self._tokens = list(_tokens(statement))
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._tokens)

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self.more() else ("end", "")

    def next(self, kind: str) -> str:
        found, text = self.peek()
        if found != kind:
            raise SqlError(_SYNTAX, f'syntax error near "{text}"')
        self._at += 1
        return text

    def take(self, *words: str) -> bool:
        these = [text.upper() for _, text in self._tokens[self._at : self._at + len(words)]]
        if these == list(words):
            self._at += len(words)
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            raise SqlError(_SYNTAX, f'syntax error near "{self.peek()[1]}"')

    def name(self) -> str:
        name = self.next("quoted")
        if "." in name or not name:
            raise SqlError(_SYNTAX, "The table name cannot contain '.'")
        return name

    def text(self) -> str:
        return unescape(self.next("text"))

    def columns(self) -> Iterator[tuple[str, str]]:
        """Names and types in brackets; a length stays with its type."""
        self.need("(")
        while True:
            name, type_ = self.name(), self.next("word")
            if self.take("("):
                type_ = f"{type_}({self.next('number')})"
                self.need(")")
            yield name, type_
            if not self.take(","):
                break
        self.need(")")

    def values(self, types: list[str]) -> tuple:
        """Values in brackets, each as its column holds it."""
        self.need("(")
        found = []
        for number, type_ in enumerate(types):
            if number:
                self.need(",")
            found.append(_held(*self.peek(), type_))
            self._at += 1
        self.need(")")
        return tuple(found)


def _tokens(statement: str) -> Iterator[tuple[str, str]]:
    end = 0
    while statement[end:].strip():
        found = _TOKEN.match(statement, end)
        if found is None or "\0" in found[0]:
            raise SqlError(_SYNTAX, f'syntax error near "{statement[end : end + 20]}"')
        end = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


def unescape(text: str) -> str:
    """What a literal in quotes stands for."""
    return re.sub(
        r"\\(.)",
        lambda e: _ESCAPES.get(e[1], e[0] if e[1] in "x%_" else e[1]),
        text[1:-1],
        flags=re.S,
    )


def _held(kind: str, text: str, type_: str):
    """A literal as a column of this type holds it."""
    if (kind, text.upper()) == ("word", "NULL"):
        return None
    name, _, length = type_.rstrip(")").partition("(")
    if name == "BOOL" and kind == "word" and text.upper() in ("TRUE", "FALSE"):
        return text.upper() == "TRUE"
    if name in ("BIGINT", "TINYINT", "TIMESTAMP") and kind == "number" and "." not in text:
        limit = 2**7 if name == "TINYINT" else 2**63
        if -limit <= int(text) < limit:
            return int(text)
    if name == "DOUBLE" and kind == "number":
        return float(text)
    if kind == "text":
        return _held_text(unescape(text), name, int(length))
    raise SqlError(_SYNTAX, f"{text} is no {type_}")


def _held_text(text: str, name: str, length: int):
    if name == "VARBINARY" and text.startswith("\\x"):
        data = bytes.fromhex(text[2:])
        if len(data) <= length:
            return data
    size = len(text) if name == "NCHAR" else len(text.encode())
    if name in ("NCHAR", "VARCHAR") and size <= length:
        return text
    raise SqlError(_TOO_LONG, "Value is too long")
