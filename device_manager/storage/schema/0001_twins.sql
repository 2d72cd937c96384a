-- "dmi1": tells this program's databases from any other's.
PRAGMA application_id = 0x646d6931;

CREATE TABLE setting (
  name  TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- What is wanted, as Kubernetes JSON, and who wants it ("api", "file:/path").
CREATE TABLE object (
  kind      TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  origin    TEXT NOT NULL,
  json      BLOB NOT NULL,
  PRIMARY KEY (kind, namespace, name)
) STRICT, WITHOUT ROWID;

-- One row for each property of each device. spec_text is the desired value of the
-- Device that was last turned into a wish, spec_version the version of that wish.
CREATE TABLE twin (
  id           INTEGER PRIMARY KEY,
  namespace    TEXT NOT NULL,
  device       TEXT NOT NULL,
  property     TEXT NOT NULL,
  spec_text    TEXT,
  spec_version INTEGER NOT NULL DEFAULT 0,
  UNIQUE (namespace, device, property)
) STRICT;

-- Apart from twin, because these rows are replaced tens of thousands of times a second.
-- kind: 0 nothing, 1 integer, 2 real, 3 boolean, 4 text, 5 bytes. Times are seconds.
CREATE TABLE reading (
  twin    INTEGER PRIMARY KEY,
  value   ANY,
  kind    INTEGER NOT NULL,
  time    REAL NOT NULL,
  quality INTEGER NOT NULL,
  reason  TEXT NOT NULL
) STRICT;

CREATE TABLE wish (
  twin       INTEGER PRIMARY KEY,
  value      ANY,
  kind       INTEGER NOT NULL,
  version    INTEGER NOT NULL,
  time       REAL NOT NULL,
  status     INTEGER NOT NULL,
  settled_at REAL NOT NULL,
  reason     TEXT NOT NULL,
  message    TEXT NOT NULL
) STRICT;

CREATE TABLE state (
  namespace   TEXT NOT NULL,
  device      TEXT NOT NULL,
  state       TEXT NOT NULL,
  since       REAL NOT NULL,
  reason      TEXT NOT NULL,
  message     TEXT NOT NULL,
  last_online REAL NOT NULL,
  PRIMARY KEY (namespace, device)
) STRICT, WITHOUT ROWID;

-- The last batch applied of each mapper process; what makes reports exactly-once.
CREATE TABLE stream (
  id       TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,
  time     REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mapper (
  id   TEXT PRIMARY KEY,
  json BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What the v1beta1 mapper of a protocol has accepted, by a digest of what it was sent.
CREATE TABLE accepted (
  protocol  TEXT NOT NULL,
  kind      TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  digest    BLOB NOT NULL,
  PRIMARY KEY (protocol, kind, namespace, name)
) STRICT, WITHOUT ROWID;
