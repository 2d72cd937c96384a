-- Calls of devices' methods and what became of them. Arguments and results are JSON objects
-- of [kind, value]. `process` is the mapper process that was given the command, empty before.
CREATE TABLE command (
  id         TEXT PRIMARY KEY,
  namespace  TEXT NOT NULL,
  device     TEXT NOT NULL,
  method     TEXT NOT NULL,
  arguments  BLOB NOT NULL,
  deadline   REAL NOT NULL,
  created    REAL NOT NULL,
  caller     TEXT NOT NULL,
  key        TEXT NOT NULL,
  mapper     TEXT NOT NULL,
  process    TEXT NOT NULL,
  cancelling INTEGER NOT NULL,
  phase      INTEGER NOT NULL,
  percent    INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  message    TEXT NOT NULL,
  results    BLOB NOT NULL,
  started    REAL NOT NULL,
  updated    REAL NOT NULL
) STRICT, WITHOUT ROWID;
